"""Publishes what transactions owe to Kafka, and forgets the rows that the brokers hold."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnsupportedForMessageFormatError,
)

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.backoff import Backoff
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.due_work.waker import Waker
from countersign.runtime.publishing import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    import structlog

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

FOR_GOOD = (MessageSizeTooLargeError, RecordListTooLargeError, InvalidTopicError, UnsupportedForMessageFormatError)
FLIGHTS_MAX = 8
WAITING_ROWS_MAX = 20_000  # beyond, rows are left to the sweeper: they lie in the table anyway
FORGET_EVERY_SECONDS = 0.05
DELIVERY_MS_MAX = 10_000


class Publisher:
    """The one producer of a process. `hand` never waits and never fails: the rows are in the table."""

    def __init__(
        self,
        kafka: KafkaConnection,
        *,
        link: Link,
        health: Health,
        metrics: Metrics,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._kafka = kafka
        self._link = link
        self._health = health
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._log = log
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()
        self._waiting: deque[Outgoing] = deque()
        self._handed = asyncio.Event()
        self._held: list[UUID] = []
        self._stopping = False

    def hand(self, due: Sequence[Outgoing]) -> None:
        """Publish committed rows soon. Call it after the commit, never before."""
        room = WAITING_ROWS_MAX - len(self._waiting)
        self._waiting.extend(due[:room])
        self._handed.set()

    async def run(self) -> None:
        """Publish until stopped, then what was handed in before, then close."""
        async with asyncio.TaskGroup() as group:
            forgetting = group.create_task(self._forget_forever())
            async with asyncio.TaskGroup() as flights:
                await self._publish_forever(flights)
            forgetting.cancel()
        try:
            await self._forget()
        except Exception as error:  # noqa: BLE001 - the rows that stay behind are the sweeper's
            self._log.warning("outbox_forget_failed", error=type(error).__name__)
        await self._close()
        await self._link.close()

    def stop(self) -> None:
        """End `run` once all that was handed in is published."""
        self._stopping = True
        self._handed.set()

    async def _publish_forever(self, flights: asyncio.TaskGroup) -> None:
        free = asyncio.Semaphore(FLIGHTS_MAX)
        backoff = Backoff()
        while True:
            await self._handed.wait()
            self._handed.clear()
            while self._waiting:
                rows = [self._waiting.popleft() for _ in range(min(500, len(self._waiting)))]
                await free.acquire()
                flights.create_task(self._fly(rows, free, backoff))
            if self._stopping:
                return

    async def _fly(self, rows: Sequence[Outgoing], free: asyncio.Semaphore, backoff: Backoff) -> None:
        try:
            failed = await self.publish(rows)
            if not failed:
                backoff.reset()
            elif not self._stopping:
                await asyncio.sleep(backoff.next())
                self.hand(failed)
        finally:
            free.release()

    async def publish(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        """Publish rows; those that the brokers hold are forgotten soon. Return those to try again."""
        acks: list[asyncio.Future[object]] = []
        failure: BaseException | None = None
        producer: AIOKafkaProducer | None = None
        try:
            producer = await self._ready()
            for row in rows:
                ack = await producer.send(row.topic, row.value, key=row.key, headers=list(row.headers))
                acks.append(ack)
        except (KafkaError, OSError) as error:
            failure = error
        answers = await asyncio.gather(*acks, return_exceptions=True)
        failed = [*self._sort(rows, answers), *rows[len(acks) :]]
        if failed and len(acks) < len(rows) and isinstance(failure, FOR_GOOD):
            await self._park(rows[len(acks)], failure)
            failed.remove(rows[len(acks)])
        wrong = failure or next((a for a in answers if isinstance(a, BaseException)), None)
        await self._tell(wrong, producer)
        await self._checkpoint("published")
        return failed

    def _sort(self, rows: Sequence[Outgoing], answers: Sequence[object]) -> list[Outgoing]:
        again = []
        published: Counter[str] = Counter()
        for row, answer in zip(rows, answers, strict=False):
            if not isinstance(answer, BaseException):
                self._held.append(row.event_id)
                published[row.topic] += 1
            else:
                again.append(row)
        for topic, count in published.items():
            self._metrics.published.labels(topic).inc(count)
        return again

    async def _park(self, row: Outgoing, error: BaseException) -> None:
        self._log.error("outbox_row_parked", topic=row.topic, event_id=str(row.event_id), error=type(error).__name__)
        async with self._link.use() as db:
            await outbox.park(db, row.event_id, type(error).__name__)

    async def _tell(self, wrong: BaseException | None, producer: AIOKafkaProducer | None) -> None:
        if wrong is None:
            self._health.tell("kafka", None)
            return
        self._log.warning("publish_failed", error=type(wrong).__name__)
        self._health.tell("kafka", f"Kafka does not take records: {type(wrong).__name__}")
        await self._renew(producer)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._renewing:
            if self._producer is None:
                producer: AIOKafkaProducer = AIOKafkaProducer(
                    **self._kafka.arguments(),
                    enable_idempotence=True,
                    acks="all",
                    linger_ms=0,
                    max_batch_size=128 * 1024,
                    request_timeout_ms=DELIVERY_MS_MAX,
                    metadata_max_age_ms=METADATA_AGE_MS,
                )
                try:
                    await producer.start()
                except BaseException:
                    with suppress(Exception):
                        await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _renew(self, failed: AIOKafkaProducer | None) -> None:
        """Let go of a producer that failed: an idempotent one can be dead for good (aiokafka #1017)."""
        async with self._renewing:
            if failed is None or id(failed) != id(self._producer):
                return
            self._producer = None
            with suppress(Exception):
                async with asyncio.timeout(2):
                    await failed.stop()

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(Exception):
                async with asyncio.timeout(5):
                    await producer.stop()

    async def _forget_forever(self) -> None:
        while True:
            await asyncio.sleep(FORGET_EVERY_SECONDS)
            try:
                await self._forget()
            except Exception as error:  # noqa: BLE001 - what is not forgotten is published again, and known again
                self._log.warning("outbox_forget_failed", error=type(error).__name__)

    async def _forget(self) -> None:
        if not self._held:
            return
        held, self._held = self._held, []
        try:
            async with self._link.use() as db:
                await outbox.forget(db, held)
        except BaseException:
            self._held = held + self._held
            raise
        await self._checkpoint("outbox_deleted")


class LeftOver:
    """Outbox rows whose process died before it published them, or whose broker was away: due work like any other."""

    name = "outbox"
    every = 2.0
    parallel = 500
    leases = True

    def __init__(self, publisher: Publisher, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> None:
        self.waker = Waker()
        self._publisher = publisher
        self._metrics = metrics
        self._log = log

    async def take(self, db: Connection, limit: int) -> Sequence[Outgoing]:
        """Lease rows whose lease ran out, and count what lies there."""
        rows = await outbox.take(db, limit)
        waiting, parked, oldest = await outbox.pending(db)
        self._metrics.outbox.labels("waiting").set(waiting)
        self._metrics.outbox.labels("parked").set(parked)
        self._metrics.outbox_oldest.set(oldest)
        if rows:
            self._log.info("outbox_left_over", rows=len(rows))
        return rows

    async def act(self, item: Outgoing) -> Outgoing:
        """Hand a row to the publisher, which forgets it when the brokers hold it."""
        self._publisher.hand([item])
        return item

    async def settle(self, _db: Connection, _done: Sequence[Outgoing]) -> Settled[None]:
        """Nothing is left to store: the publisher deletes the row, or its lease runs out again."""
        return Settled()

    def committed(self, done: Sequence[None]) -> None:
        """Nothing is left to tell."""
