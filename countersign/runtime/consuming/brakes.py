"""Partitions that the brake holds: kept in the database, paused at the consumer, shown as a metric."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError

from countersign.runtime.backoff import Backoff
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.folding import brake
from countersign.runtime.folding.transactions import StoppingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    import structlog

    from countersign.runtime.consuming.membership import GroupConsumer
    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.folding.batch import Folder
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Hold:
    """One time that a partition is held. Before `is_kept` the database does not know of it."""

    reason: str
    is_kept: bool = False


class Brakes:
    """The brakes of one worker. `hold` and `know` are called by the task that folds, `release` by another one."""

    def __init__(
        self,
        topics: Sequence[str],
        folder: Folder,
        link: Link,
        *,
        health: Health,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._topics = list(topics)
        self._folder = folder
        self._link = link
        self._health = health
        self._metrics = metrics
        self._log = log
        self._held: dict[TopicPartition, _Hold] = {}
        self._shown: set[TopicPartition] = set()
        self._ever_shown: set[TopicPartition] = set()
        self._stopping = False
        self.waiting_for_server = False

    def stop(self) -> None:
        """Wait for PostgreSQL no more."""
        self._stopping = True

    @property
    def held(self) -> Collection[TopicPartition]:
        """Return the partitions that are held, in the whole group as far as it is known here."""
        return self._held.keys()

    async def hold(self, consumer: GroupConsumer, partition: TopicPartition, reason: str, offset: int) -> None:
        """Hold a partition at this offset. Raises StoppingError if the process stops before it is stored."""
        self._held[partition] = hold = _Hold(reason)
        self.rewind(consumer, partition, offset)
        await self._patiently(lambda db: brake.hold(db, partition.topic, partition.partition, reason))
        hold.is_kept = True
        self._tell(consumer, partition)

    async def know(self, consumer: GroupConsumer) -> None:
        """Read the brakes and pause what they hold: a rebalance forgets pauses, and a restart knows of none.

        Raises StoppingError.
        """
        rows = await self._patiently(lambda db: brake.held(db, self._topics))
        found = {TopicPartition(topic, number): _Hold(reason, is_kept=True) for (topic, number), reason in rows.items()}
        for partition in self._held.keys() - found.keys():
            self._let_go(consumer, partition)
        self._held = found
        for gone in self._shown - consumer.assignment():
            self._shown.remove(gone)
            self._metrics.braked.remove(gone.topic, gone.partition)
        held_here = consumer.assignment() & self._held.keys()
        consumer.pause(*held_here)
        for partition in held_here:
            self._tell(consumer, partition)
        # One that was released while another process had it is shown as released, not as unknown.
        for partition in (consumer.assignment() & self._ever_shown) - held_here - self._shown:
            self._shown.add(partition)
            self._metrics.braked.labels(partition.topic, partition.partition).set(0)

    async def release(self, consumer: GroupConsumer) -> None:
        """Look whether somebody released a brake, and go on where the partition was held.

        The answer may be older than what was held meanwhile, so it says something only of what the database knew
        before the question. Raises infrastructure errors.
        """
        asked = {partition: hold for partition, hold in self._held.items() if hold.is_kept}
        if not asked:
            return
        async with self._link.use() as db:
            rows = await brake.held(db, self._topics)
        for partition, hold in asked.items():
            if (partition.topic, partition.partition) not in rows and self._held.get(partition) is hold:
                self._let_go(consumer, partition)

    def rewind(self, consumer: GroupConsumer, partition: TopicPartition, offset: int) -> None:
        """Read no more of a partition, and later go on from this offset."""
        with suppress(IllegalStateError):
            consumer.pause(partition)
            consumer.seek(partition, offset)

    def _let_go(self, consumer: GroupConsumer, partition: TopicPartition) -> None:
        """Forget a brake, and read on: a batch from before a rebalance may have paused what was assigned anew."""
        del self._held[partition]
        if partition in consumer.assignment():
            consumer.resume(partition)
        if partition in self._shown:
            self._metrics.braked.labels(partition.topic, partition.partition).set(0)
        self._log.info("partition_released", topic=partition.topic, partition=partition.partition)
        self._folder.forgive(partition.topic, partition.partition)

    def _tell(self, consumer: GroupConsumer, partition: TopicPartition) -> None:
        """Show a held partition, if it is assigned here: else another process shows it."""
        reason = self._held[partition].reason
        self._log.error("partition_braked", topic=partition.topic, partition=partition.partition, reason=reason)
        if partition in consumer.assignment():
            self._shown.add(partition)
            self._ever_shown.add(partition)
            self._metrics.braked.labels(partition.topic, partition.partition).set(1)

    async def _patiently(self, ask: Callable[[Connection], Awaitable[T]]) -> T:
        """Ask PostgreSQL until it answers. Raises StoppingError."""
        backoff = Backoff()
        self.waiting_for_server = True
        try:
            while not self._stopping:
                try:
                    async with self._link.use() as db:
                        answer = await ask(db)
                except Exception as error:
                    if kind_of(error) is not Kind.INFRASTRUCTURE:
                        raise
                    self._health.tell("postgres.brakes", reason_of(error))
                    await asyncio.sleep(backoff.next())
                    continue
                self._health.tell("postgres.brakes", None)
                return answer
        finally:
            self.waiting_for_server = False
        raise StoppingError
