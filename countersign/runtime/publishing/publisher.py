"""Publishes what transactions owe to Kafka, and forgets the rows that the brokers hold."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.clock import loop_seconds
from countersign.runtime.backoff import Backoff
from countersign.runtime.publishing.outbox import LinkedRows
from countersign.runtime.publishing.owned import Owned
from countersign.runtime.publishing.partition_queue import PartitionQueue
from countersign.runtime.publishing.producer import AiokafkaProducer
from countersign.runtime.publishing.producing import Producing
from countersign.runtime.publishing.pump import Pump
from countersign.runtime.publishing.troubles import Troubles
from countersign.runtime.settings import LeaseSettings
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    import structlog

    from countersign.runtime.backoff import Chance
    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import OutboxRows, TopicOrPartition
    from countersign.runtime.publishing.producer import Producer
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

ROWS_MAX = 4_000  # owned at a time: what a process publishes in less than a second
WRITE_EVERY_SECONDS = 0.05
TEND_EVERY_SECONDS_MAX = 1.0
STALLED_SECONDS = 3.0  # chosen: a broker that is well acknowledges in milliseconds
STOP_SECONDS_MAX = 5.0  # ours: what is not acknowledged by then is left to the next process
REQUEST_MS_MAX = 10_000
OPTIONS = {"acks": "all", "max_batch_size": 128 * 1024}
_AS_SHIPPED = LeaseSettings().outbox


@dataclass(frozen=True, slots=True)
class Room:
    """How many rows a sweeper may lease, and the topics and partitions whose rows have to wait."""

    rows: int
    without: frozenset[TopicOrPartition]


class Publisher:
    """The one publisher of a process. `hand` never waits and never fails: the rows are in the table.

    Each row that is handed over has one owner until it is deleted, parked or given back. `make` makes another producer
    than aiokafka's, `rows` is another outbox than the one behind `link`, and `chance` draws the pauses.
    """

    def __init__(  # noqa: PLR0913 - what a publisher needs is what the frame has
        self,
        kafka: KafkaConnection,
        *,
        link: Link,
        health: Health,
        metrics: Metrics,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
        lease: timedelta = _AS_SHIPPED,
        make: Callable[[], Producer] | None = None,
        rows: OutboxRows | None = None,
        chance: Chance | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._link = link
        self._checkpoint = checkpoint
        self._log = log
        self._lease_seconds = lease.total_seconds()
        self._chance = chance
        self._queues: dict[TopicOrPartition, PartitionQueue] = {}
        # Those that nobody may be at work on, in the order in which they got rows.
        self._filled: dict[PartitionQueue, None] = {}
        self._owned = Owned(rows or LinkedRows(link), self._lease_seconds)
        self._troubles = Troubles(self._queues.values(), health=health, metrics=metrics, log=log)
        self._owned.on_parked = self._troubles.parked
        self.producing = Producing(
            make or (lambda: AiokafkaProducer(kafka, request_timeout_ms=REQUEST_MS_MAX, options=OPTIONS))
        )
        self._pump = Pump(
            self.producing,
            self._owned,
            self._troubles,
            place=self._place,
            metrics=metrics,
            checkpoint=checkpoint,
            chance=chance,
            tracer=tracer,
        )
        self._handed = asyncio.Event()
        self._stopping = False
        self._rows_wanted = False
        self._left_out: frozenset[TopicOrPartition] = frozenset()
        self.on_room: Callable[[], None] = lambda: None  # called when there is room again after `room` gave too little

    def hand(self, due: Sequence[Outgoing]) -> None:
        """Publish committed rows soon. Call it after the commit, never before.

        A row that is in flight already is not taken twice. For which there is no room is given back to the sweeper.
        """
        for row in due:
            if row.event_id in self._owned:
                continue
            queue = self._queue(row)
            self._owned.own(row.event_id)
            if len(self._owned) > ROWS_MAX:
                self._owned.give_back(row.event_id, queue.partition)
                self._rows_wanted = True
            elif queue.closed:
                self._owned.give_back(row.event_id, queue.partition)
                self._left_out |= {queue.topic_partition}
            else:
                self._put(queue, row)

    def room(self, wanted: int) -> Room:
        """Return what of `wanted` rows may be leased now. `on_room` is called when there is more."""
        rows = 0 if self._stopping else max(0, min(wanted, ROWS_MAX - len(self._owned)))
        self._rows_wanted = rows < wanted
        self._left_out = self._closed()
        return Room(rows, self._left_out)

    async def run(self) -> None:
        """Publish until stopped, then what was handed in before, then close; whatever does not end by then is left."""
        async with asyncio.TaskGroup() as group:
            keeping = [group.create_task(loop()) for loop in (self._write_forever, self._tend_forever)]
            try:
                async with asyncio.TaskGroup() as flights:
                    try:
                        await self._publish_forever(flights)
                    finally:
                        await self.producing.close(0)  # what waits for an acknowledgement fails now, and ends
            finally:
                for task in keeping:
                    task.cancel()
        try:
            self._owned.give_all_back()
            await self._write()
        except Exception as error:  # noqa: BLE001 - the rows that stay behind are the sweeper's
            self._log.warning("outbox_forget_failed", error=type(error).__name__)
        await self._link.close()

    def stop(self) -> None:
        """End `run` once all that was handed in is published."""
        self._stopping = True
        self._pump.stop()
        self._handed.set()

    async def _publish_forever(self, flights: asyncio.TaskGroup) -> None:
        pumping: set[asyncio.Task[None]] = set()
        ends_at: float | None = None
        while True:
            filled, self._filled = self._filled, {}
            for queue in filled:
                if not queue.at_work and not queue.empty:
                    queue.at_work = True
                    pumping.add(task := flights.create_task(self._empty(queue)))
                    task.add_done_callback(pumping.discard)
            if self._stopping:
                ends_at = ends_at or loop_seconds() + STOP_SECONDS_MAX
                if not pumping or loop_seconds() >= ends_at:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(ends_at):
                        await self._handed.wait()
            else:
                await self._handed.wait()
            self._handed.clear()

    async def _empty(self, queue: PartitionQueue) -> None:
        try:
            await self._pump.empty(queue)
        finally:
            queue.at_work = False
            if self._stopping:
                queue.waiting.clear()  # they are given back at the end of `run`
                queue.suspects.clear()
            self._filled[queue] = None  # for rows that came into it meanwhile
            self._handed.set()

    def _queue(self, row: Outgoing) -> PartitionQueue:
        partition = self.producing.partition_of(row.topic, row.key)
        found = self._queues.get((row.topic, partition))
        if found is None:
            found = self._queues[row.topic, partition] = PartitionQueue(row.topic, partition, self._chance)
        return found

    def _place(self, row: Outgoing) -> None:
        self._put(self._queue(row), row)

    def _put(self, queue: PartitionQueue, row: Outgoing) -> None:
        queue.waiting.append(row)
        self._filled[queue] = None
        self._handed.set()

    async def _write_forever(self) -> None:
        backoff = Backoff(self._chance)
        while True:
            await asyncio.sleep(WRITE_EVERY_SECONDS)
            try:
                await self._write()
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - what is not forgotten is published again, and known again
                self._log.warning("outbox_forget_failed", error=type(error).__name__)
                await asyncio.sleep(backoff.next())

    async def _write(self) -> None:
        if self._owned.to_write and await self._owned.write():
            await self._checkpoint("outbox_deleted")
        self._say_room()

    def _closed(self) -> frozenset[TopicOrPartition]:
        return frozenset(queue.topic_partition for queue in self._queues.values() if queue.closed)

    def _say_room(self) -> None:
        """Wake the sweeper once if what it could not have, or what was given back, can be taken now."""
        rows = self._rows_wanted and len(self._owned) <= ROWS_MAX / 2
        if rows or (self._left_out and self._left_out - self._closed()):
            self._rows_wanted, self._left_out = False, frozenset()
            self.on_room()

    async def _tend_forever(self) -> None:
        """Keep the leases of what is in flight, and see which queues are in trouble."""
        while True:
            await asyncio.sleep(min(TEND_EVERY_SECONDS_MAX, self._lease_seconds / 6))
            now = loop_seconds()
            for queue in self._queues.values():
                if queue.since is not None and now - queue.since > STALLED_SECONDS and queue.trouble is None:
                    self._troubles.stalled(queue, STALLED_SECONDS)
                if queue.trouble is not None:
                    for row in queue.surplus():
                        self._owned.give_back(row.event_id, queue.partition)
            try:
                await self._owned.renew()
            except Exception as error:  # noqa: BLE001 - a row whose lease ends is not sent
                self._log.warning("outbox_lease_failed", error=type(error).__name__)
