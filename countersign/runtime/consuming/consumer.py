"""Reads topics and feeds them to folds. PostgreSQL is the commit point; offsets are only a hint."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from countersign.runtime.backoff import Backoff
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.consuming.fetching import Fetching, letter_of, record_of
from countersign.runtime.consuming.membership import Listening, Member
from countersign.runtime.consuming.stopping import stop_clients
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.folding import brake
from countersign.runtime.folding.batch import Batch, Stopping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import structlog
    from aiokafka import AIOKafkaConsumer, ConsumerRecord

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.batch import Folder
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Record
    from countersign.runtime.settings import KafkaSettings
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

COMMIT_EVERY_SECONDS = 1.0


class Worker:
    """One member of the group `countersign.<service>`, with a stable id: a restart takes 0.1 s, not a session."""

    def __init__(  # noqa: PLR0913 - what a worker needs is what the frame has
        self,
        *,
        service: str,
        instance: str,
        settings: KafkaSettings,
        folds: Sequence[AnyFold],
        folder: Folder,
        link: Link,
        health: Health,
        metrics: Metrics,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.member = Member.of(service, instance)
        self._settings = settings
        self._folds: Mapping[str, AnyFold] = {fold.topic: fold for fold in folds}
        self._folder = folder
        self._link = link
        self._health = health
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._log = log
        self._fetching = Fetching(settings.batch_records_max)
        self._stopping = asyncio.Event()
        self._consumer: AIOKafkaConsumer | None = None
        self._epoch = 0
        self._brakes_epoch = -1
        self._braked: dict[TopicPartition, str] = {}
        self._to_commit: dict[TopicPartition, int] = {}
        self.done: dict[TopicPartition, int] = {}
        self.assigned_at: deque[float] = deque(maxlen=4)  # the last times, by the monotonic clock
        health.tell("assignment", "no partitions are assigned yet")
        health.tell("kafka.topics", "it is not known yet whether all partitions are read")

    def stop(self) -> None:
        """Fetch nothing more; `run` ends after the batch in hand."""
        self._stopping.set()
        self._folder.stop()

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics that the whole group reads."""
        return tuple(self._folds)

    @property
    def braked(self) -> Mapping[TopicPartition, str]:
        """Return the partitions that the brake holds."""
        return self._braked

    @property
    def consumer(self) -> AIOKafkaConsumer | None:
        """Return the consumer at work, if there is one."""
        return self._consumer

    async def run(self) -> None:
        """Consume until stopped, with a new consumer whenever Kafka could not be had."""
        backoff = Backoff()
        while not self._stopping.is_set():
            consumer: AIOKafkaConsumer | None = None
            try:
                consumer = self.member.open_consumer(self._settings)
                self._subscribe(consumer)
                await consumer.start()
                self._consumer = consumer
                self._health.tell("kafka.consumer", None)
                backoff.reset()
                await self._consume(consumer)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                why = await refusal_of(self._settings)
                self._health.tell("kafka.consumer", why or f"Kafka cannot be read: {type(error).__name__}")
                self._log.warning("consumer_failed", error=type(error).__name__, why=why)
            finally:
                self._consumer = None
                await self._close(consumer)
            if not self._stopping.is_set():
                await asyncio.sleep(backoff.next())

    def _subscribe(self, consumer: AIOKafkaConsumer) -> None:
        consumer.subscribe(topics=list(self._folds), listener=Listening(self, self._log))

    async def rejoin(self) -> None:
        """Let Kafka assign all partitions of the group anew.

        The leader of a group watches for new partitions. When it is restarted under its old name, Kafka lets it back in
        without a rebalance, aiokafka does not learn that it leads, and then nobody watches.
        """
        consumer = self._consumer
        if consumer is not None:
            await self._commit(consumer)
            self.member.rejoins += 1
            self._subscribe(consumer)

    async def _close(self, consumer: AIOKafkaConsumer | None) -> None:
        if consumer is not None:
            await stop_clients(partial(self._commit, consumer), consumer.stop)

    async def _consume(self, consumer: AIOKafkaConsumer) -> None:
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self._commit_forever(consumer))
            try:
                while not self._stopping.is_set():
                    got, untakeable = await self._fetching.fetch(consumer)
                    epoch = self._epoch  # of what was got: a rebalance may have come while this waited for records
                    await self._know_brakes(consumer)
                    if got:
                        await self._fold(consumer, got, epoch)
                    for partition, offset in untakeable:
                        await self._pass_over(consumer, partition, offset, epoch)
            except Stopping:
                pass
            finally:
                committing.cancel()

    async def _fold(
        self, consumer: AIOKafkaConsumer, got: Mapping[TopicPartition, Sequence[ConsumerRecord]], epoch: int
    ) -> None:
        await self._checkpoint("fetched")
        by_topic: dict[str, list[Record]] = {}
        for partition, messages in got.items():
            if partition in self._braked:
                self._rewind(consumer, partition, messages[0].offset)
                continue
            if epoch == self._epoch:  # else others have gone on from here, and nothing more may come
                self.done.setdefault(partition, messages[0].offset)
            by_topic.setdefault(partition.topic, []).extend(record_of(message) for message in messages)
        for topic, records in by_topic.items():
            batch = Batch(self._folds[topic], records)
            held = await self._folder.fold(batch)
            for number, (reason, offset) in held.items():
                await self._hold(consumer, TopicPartition(topic, number), reason, offset)
            if epoch == self._epoch:
                self._note(topic, records, held)

    async def _pass_over(self, consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int, epoch: int) -> None:
        """Keep a dead letter of a record that cannot be taken apart, and go on behind it."""
        if partition in self._braked or epoch != self._epoch:
            return
        await self._folder.bury(self._folds[partition.topic], letter_of(partition, offset))
        with suppress(IllegalStateError):
            consumer.seek(partition, offset + 1)
        self.done[partition] = self._to_commit[partition] = offset + 1

    def _note(self, topic: str, records: Sequence[Record], held: Mapping[int, tuple[str, int]]) -> None:
        for record in records:
            partition = TopicPartition(topic, record.partition)
            if record.partition in held:
                upto = held[record.partition][1]
            else:
                upto = max(record.offset + 1, self._to_commit.get(partition, 0))
            self.done[partition] = self._to_commit[partition] = upto

    async def _know_brakes(self, consumer: AIOKafkaConsumer) -> None:
        """Read the brakes once per assignment: a rebalance forgets pauses, and a restart knows of none."""
        backoff = Backoff()
        while self._brakes_epoch != self._epoch and not self._stopping.is_set():
            epoch = self._epoch
            try:
                async with self._link.use() as db:
                    rows = await brake.held(db, list(self._folds))
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                self._health.tell("postgres.brakes", reason_of(error))
                await asyncio.sleep(backoff.next())
                continue
            self._health.tell("postgres.brakes", None)
            found = {TopicPartition(topic, number): reason for (topic, number), reason in rows.items()}
            for partition in self._braked.keys() - found.keys():
                self._let_go(partition)
            self._braked = found
            self._pause(consumer)
            self._brakes_epoch = epoch

    def _pause(self, consumer: AIOKafkaConsumer) -> None:
        consumer.pause(*(consumer.assignment() & self._braked.keys()))
        for partition, reason in self._braked.items():
            self._metrics.braked.labels(partition.topic, partition.partition).set(1)
            self._log.error("partition_braked", topic=partition.topic, partition=partition.partition, reason=reason)

    async def _hold(self, consumer: AIOKafkaConsumer, partition: TopicPartition, reason: str, offset: int) -> None:
        self._braked[partition] = reason
        async with self._link.use() as db:
            await brake.hold(db, partition.topic, partition.partition, reason)
        self._metrics.braked.labels(partition.topic, partition.partition).set(1)
        self._log.error("partition_braked", topic=partition.topic, partition=partition.partition, reason=reason)
        self._rewind(consumer, partition, offset)

    async def release(self) -> None:
        """Look whether somebody released a brake, and go on where the partition was held."""
        consumer = self._consumer
        if not self._braked or consumer is None:
            return
        async with self._link.use() as db:
            rows = await brake.held(db, list(self._folds))
        for partition in [p for p in self._braked if (p.topic, p.partition) not in rows]:
            self._let_go(partition)
            if partition in consumer.assignment():
                consumer.resume(partition)

    def _let_go(self, partition: TopicPartition) -> None:
        """Forget that the brake held a partition, and tell it."""
        del self._braked[partition]
        self._metrics.braked.labels(partition.topic, partition.partition).set(0)
        self._log.info("partition_released", topic=partition.topic, partition=partition.partition)
        self._folder.forgive(partition.topic, partition.partition)

    def _rewind(self, consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
        with suppress(IllegalStateError):
            consumer.pause(partition)
            consumer.seek(partition, offset)

    async def _commit_forever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            await self._commit(consumer)
            try:
                await self.release()
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit the offsets of folded records. Losing them only means reading again what is known."""
        if not self._to_commit:
            return
        epoch = self._epoch
        offsets, self._to_commit = self._to_commit, {}
        assigned = consumer.assignment()
        offsets = {partition: offset for partition, offset in offsets.items() if partition in assigned}
        try:
            if offsets:
                await consumer.commit(offsets)
                await self._checkpoint("offsets_committed")
        except (KafkaError, IllegalStateError) as error:
            self._log.info("offsets_not_committed", error=type(error).__name__)
            if epoch == self._epoch:  # a quiet partition would show a lag that is none until its next record
                self._to_commit = {**offsets, **self._to_commit}

    async def revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Commit what is folded; a batch in hand goes on and is known again by whoever reads it next."""
        self._epoch += 1
        if revoked and self._consumer is not None:
            await self._commit(self._consumer)
        self._to_commit.clear()
        self.done.clear()

    async def assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Say what is read here now."""
        self._epoch += 1
        self.assigned_at.append(monotonic())
        self._log.info("partitions_assigned", partitions=len(assigned))
        self._health.tell("assignment", None)
