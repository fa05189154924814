"""A worker and its watchdog on a consumer and a database in memory, driven by a test step by step."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError

from countersign.runtime.checkpoint import nothing
from countersign.runtime.consuming.brakes import Brakes
from countersign.runtime.consuming.consumer import Worker
from countersign.runtime.consuming.coverage import Covered
from countersign.runtime.consuming.fetching import Fetching
from countersign.runtime.consuming.membership import Member
from countersign.runtime.consuming.watchdog import Watchdog
from countersign.runtime.folding.batch import Folder
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from tests.support.scripted import NOON, QUIET, TOPIC, Publishing, ScriptedDatabase, ScriptedFold, ScriptedLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from aiokafka import ConsumerRebalanceListener

NOON_MS = int(NOON.timestamp() * 1000)


def at(partition: int) -> TopicPartition:
    """Return a partition of the scripted topic."""
    return TopicPartition(TOPIC, partition)


def a_message(
    partition: int, offset: int, value: bytes = b"", *, timestamp: int = NOON_MS, key: bytes | None = None
) -> ConsumerRecord:
    """Return a message as aiokafka gives it."""
    name = key or b"%d" % offset
    return ConsumerRecord(TOPIC, partition, offset, timestamp, 1, name, value, None, len(name), len(value), ())


@dataclass
class Log:
    """A topic's records and the group's offsets: they outlive a consumer."""

    messages: dict[TopicPartition, list[ConsumerRecord]] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)

    def append(self, partition: int, *values: bytes, timestamp: int = NOON_MS) -> None:
        """Put records at the end of a partition."""
        messages = self.messages.setdefault(at(partition), [])
        for value in values:
            messages.append(a_message(partition, len(messages), value, timestamp=timestamp))


class ScriptedConsumer:
    """Fulfils GroupConsumer. `rebalance` gives it other partitions, as Kafka would."""

    def __init__(self, log: Log, partitions: Sequence[int]) -> None:
        self._log = log
        self._first = partitions
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._listener: ConsumerRebalanceListener | None = None
        self.closed = False
        self.asked = 0  # questions that wait for their answer
        self.asked_when_closed = 0
        self.failing: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    def subscribe(self, topics: Sequence[str], *, listener: ConsumerRebalanceListener) -> None:
        """Remember who is told of rebalances."""
        assert list(topics) == [TOPIC]
        self._listener = listener

    async def start(self) -> None:
        """Join."""
        await self.rebalance(*self._first)

    async def stop(self) -> None:
        """Leave."""
        self.closed = True
        self.asked_when_closed = self.asked

    async def rebalance(self, *partitions: int) -> None:
        """Read these partitions from now on, none of them paused."""
        assert self._listener is not None
        await self._listener.on_partitions_revoked(list(self._positions))
        self._paused.clear()
        self._positions = {at(one): self._log.committed.get(at(one), 0) for one in partitions}
        await self._listener.on_partitions_assigned(list(self._positions))

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Return records behind the positions."""
        if self.failing is not None:
            raise self.failing
        found: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
        for partition in partitions or list(self._positions):
            if partition not in self._paused:
                messages = self._log.messages.get(partition, [])[self._positions[partition] :][:max_records]
                if messages:
                    found[partition] = messages
                    self._positions[partition] = messages[-1].offset + 1
        if not found:
            await asyncio.sleep(timeout_ms / 1000)
        return found

    def assignment(self) -> frozenset[TopicPartition]:
        """Return what is read here."""
        return frozenset(self._positions)

    def paused(self) -> frozenset[TopicPartition]:
        """Return what is paused."""
        return frozenset(self._paused)

    def pause(self, *partitions: TopicPartition) -> None:
        """Pause."""
        self._require(*partitions)
        self._paused |= set(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Resume."""
        self._require(*partitions)
        self._paused -= set(partitions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from there."""
        self._require(partition)
        self._positions[partition] = offset

    async def position(self, partition: TopicPartition) -> int:
        """Return where it is."""
        self._require(partition)
        return self._positions[partition]

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets."""
        self._log.committed.update(offsets)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the ends, or never."""
        self.asked += 1
        try:
            await self.answers.wait()
        finally:
            self.asked -= 1
        return {one: len(self._log.messages.get(one, [])) for one in partitions}

    def _require(self, *partitions: TopicPartition) -> None:
        if not set(partitions) <= self._positions.keys():
            raise IllegalStateError(partitions)


class _Covered:
    """A group in which every partition is read."""

    async def look(self) -> Covered:
        """Say so."""
        return Covered(absent=(), unread=frozenset(), rebalancing=False, namesake=None)

    async def close(self) -> None:
        """Close nothing."""


class Scripted:
    """The parts of one process. Each consumer that it opens is in `consumers`."""

    def __init__(self, *partitions: int) -> None:
        self.log = Log()
        self.db = ScriptedDatabase()
        self.fold = ScriptedFold()
        self.health, self.metrics = Health(), Metrics()
        self.consumers: list[ScriptedConsumer] = []
        self._partitions = partitions or (0,)
        link: Any = ScriptedLink(self.db)
        brakes_link: Any = ScriptedLink(self.db)
        publishing: Any = Publishing()
        shared: dict[str, Any] = {"health": self.health, "metrics": self.metrics, "log": QUIET}
        self.folder = Folder(link=link, bulk=link, publisher=publishing, checkpoint=nothing, **shared)
        self.brakes = Brakes([TOPIC], self.folder, brakes_link, **shared)
        self.worker = Worker(
            Member.of("scripted", "0"),
            {TOPIC: self.fold},
            open_consumer=self._open,
            why_refused=self._why_refused,
            fetching=Fetching(100),
            folder=self.folder,
            brakes=self.brakes,
            health=self.health,
            checkpoint=nothing,
            log=QUIET,
        )
        self.watchdog = Watchdog(self.worker, _Covered(), **shared)

    @property
    def consumer(self) -> ScriptedConsumer:
        """Return the newest consumer."""
        return self.consumers[-1]

    def _open(self) -> ScriptedConsumer:
        self.consumers.append(ScriptedConsumer(self.log, self._partitions))
        return self.consumers[-1]

    async def _why_refused(self) -> str | None:
        return None

    def value(self, name: str, partition: int) -> float | None:
        """Return a metric of a partition, None if it is not shown."""
        return self.metrics.registry.get_sample_value(name, {"topic": TOPIC, "partition": str(partition)})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run worker and watchdog until the body ends. What ends one of them is raised."""
        async with asyncio.TaskGroup() as group:
            worker = group.create_task(self.worker.run())
            watchdog = group.create_task(self.watchdog.run())
            try:
                await asyncio.sleep(1)
                yield
            finally:
                self.worker.stop()
                watchdog.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(60):
                    await asyncio.wait([worker])
            assert worker.done(), "the worker does not stop"
