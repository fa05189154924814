"""Reads topics and feeds them to folds. PostgreSQL is the commit point; offsets are only a hint."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from countersign.clock import loop_seconds
from countersign.runtime.backoff import Backoff
from countersign.runtime.broker.closing import close_consumer, stop_clients
from countersign.runtime.consuming.fetching import records_of
from countersign.runtime.consuming.membership import Listening
from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.folding.batch import Batch
from countersign.runtime.folding.transactions import StoppingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence

    import structlog
    from aiokafka import ConsumerRecord

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.consuming.brakes import Brakes
    from countersign.runtime.consuming.fetching import Fetching
    from countersign.runtime.consuming.membership import GroupConsumer, Member
    from countersign.runtime.folding.batch import Folder
    from countersign.runtime.folding.dead_letter import DeadLetter
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Record
    from countersign.runtime.watching.health import Health

COMMIT_EVERY_SECONDS = 1.0
QUESTION_ENDS_SECONDS_MAX = 1.0
T = TypeVar("T")


class Worker:
    """One member of the group `countersign.<service>`, with a stable id: a restart takes 0.1 s, not a session."""

    def __init__(  # noqa: PLR0913 - what a worker needs is what the frame has
        self,
        member: Member,
        folds: Mapping[str, AnyFold],
        *,
        open_consumer: Callable[[], GroupConsumer],
        why_refused: Callable[[], Awaitable[str | None]],
        fetching: Fetching,
        folder: Folder,
        brakes: Brakes,
        health: Health,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.member = member
        self._folds = folds
        self._open_consumer = open_consumer
        self._why_refused = why_refused
        self._fetching = fetching
        self._folder = folder
        self._brakes = brakes
        self._health = health
        self._checkpoint = checkpoint
        self._log = log
        self._stopping = asyncio.Event()
        self._consumer: GroupConsumer | None = None
        self._epoch = 0
        self._brakes_epoch = -1
        self._to_commit: dict[TopicPartition, int] = {}
        self._questions: set[asyncio.Future[Any]] = set()
        self.done: dict[TopicPartition, int] = {}
        self.assigned_at: deque[float] = deque(maxlen=4)  # the last times, by the event loop's clock
        health.tell("assignment", "no partitions are assigned yet")
        health.tell("kafka.topics", "it is not known yet whether all partitions are read")

    def stop(self) -> None:
        """Fetch nothing more; `run` ends after the batch in hand."""
        self._stopping.set()
        self._folder.stop()
        self._brakes.stop()

    @property
    def topics(self) -> tuple[str, ...]:
        """Return the topics that the whole group reads."""
        return tuple(self._folds)

    @property
    def braked(self) -> Collection[TopicPartition]:
        """Return the partitions that the brake holds."""
        return self._brakes.held

    @property
    def waiting_for_server(self) -> bool:
        """Whether nothing is folded because PostgreSQL is waited for."""
        return self._folder.waiting_for_server or self._brakes.waiting_for_server

    def settled_at(self, partition: TopicPartition) -> float:
        """Return when, by the event loop's clock, a part of a batch with records of this partition was committed."""
        return self._folder.settled_at(partition.topic, partition.partition)

    @property
    def consumer(self) -> GroupConsumer | None:
        """Return the consumer at work, if there is one."""
        return self._consumer

    async def run(self) -> None:
        """Consume until stopped, with a new consumer whenever Kafka could not be had."""
        backoff = Backoff()
        while not self._stopping.is_set():
            consumer: GroupConsumer | None = None
            try:
                consumer = self._open_consumer()
                self._subscribe(consumer)
                await consumer.start()
                self._consumer = consumer
                self._health.tell("kafka.consumer", None)
                backoff.reset()
                await self._consume(consumer)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                why = await self._why_refused()
                self._health.tell("kafka.consumer", why or f"Kafka cannot be read: {type(error).__name__}")
                self._log.warning("consumer_failed", error=type(error).__name__, why=why)
            finally:
                self._consumer = None
                await self._close(consumer)
            if not self._stopping.is_set():
                await asyncio.sleep(backoff.next())

    def _subscribe(self, consumer: GroupConsumer) -> None:
        consumer.subscribe(topics=list(self._folds), listener=Listening(self, self._log))

    async def rejoin(self) -> None:
        """Let Kafka assign all partitions of the group anew.

        The leader of a group watches for new partitions. When it is restarted under its old name, Kafka lets it back in
        without a rebalance, aiokafka does not learn that it leads, and then nobody watches.
        """
        consumer = self._consumer
        if consumer is not None:
            await self.ask(consumer, self._commit(consumer))
            self.member.rejoins += 1
            self._subscribe(consumer)

    async def ask(self, consumer: GroupConsumer, question: Coroutine[Any, Any, T]) -> T | None:
        """Return what the consumer says to another task, None if it was closed meanwhile.

        A question that outlives its consumer would open a connection that nobody closes.
        """
        if consumer is not self._consumer:
            question.close()
            return None
        asked = asyncio.ensure_future(question)
        self._questions.add(asked)
        try:
            await asyncio.wait([asked])
            return None if asked.cancelled() else asked.result()
        finally:
            asked.cancel()
            self._questions.discard(asked)

    async def _close(self, consumer: GroupConsumer | None) -> None:
        for question in self._questions:
            question.cancel()
        if self._questions:
            await asyncio.wait(self._questions, timeout=QUESTION_ENDS_SECONDS_MAX)
        if consumer is not None:
            await stop_clients(partial(self._commit, consumer))
            await close_consumer(consumer)

    async def _consume(self, consumer: GroupConsumer) -> None:
        async with asyncio.TaskGroup() as group:
            committing = group.create_task(self._commit_forever(consumer))
            try:
                while not self._stopping.is_set():
                    got, letters = await self._fetching.fetch(consumer)
                    epoch = self._epoch  # of what was got: a rebalance may have come while this waited for records
                    await self._know_brakes(consumer)
                    if got:
                        await self._fold(consumer, got, epoch)
                    for letter in letters:
                        await self._pass_over(consumer, letter, epoch)
            except StoppingError:
                pass
            finally:
                committing.cancel()

    async def _fold(
        self, consumer: GroupConsumer, got: Mapping[TopicPartition, Sequence[ConsumerRecord]], epoch: int
    ) -> None:
        await self._checkpoint("fetched")
        by_topic: defaultdict[str, list[ConsumerRecord]] = defaultdict(list)
        for partition, messages in got.items():
            if partition in self._brakes.held:
                self._brakes.rewind(consumer, partition, messages[0].offset)
                continue
            if epoch == self._epoch:  # else others have gone on from here, and nothing more may come
                self.done.setdefault(partition, messages[0].offset)
            by_topic[partition.topic].extend(messages)
        for topic, messages in by_topic.items():
            records, refused = records_of(messages)
            held = await self._folder.fold(Batch(self._folds[topic], records, refused))
            for number, (reason, offset) in held.items():
                await self._brakes.hold(consumer, TopicPartition(topic, number), reason, offset)
            if epoch == self._epoch:
                self._note(topic, records, held)

    async def _pass_over(self, consumer: GroupConsumer, letter: DeadLetter, epoch: int) -> None:
        """Keep the dead letter of a record that cannot be taken apart, and go on behind it."""
        partition, offset = TopicPartition(letter.record.topic, letter.record.partition), letter.record.offset
        if partition in self._brakes.held or epoch != self._epoch:
            return
        await self._folder.dead_letter_unparsed(self._folds[partition.topic], letter)
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

    async def _know_brakes(self, consumer: GroupConsumer) -> None:
        """Read the brakes once per assignment."""
        while self._brakes_epoch != self._epoch:
            epoch = self._epoch
            await self._brakes.know(consumer)
            self._brakes_epoch = epoch

    async def _commit_forever(self, consumer: GroupConsumer) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_SECONDS)
            await self._commit(consumer)
            try:
                await self._brakes.release(consumer)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise

    async def _commit(self, consumer: GroupConsumer) -> None:
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
        self.assigned_at.append(loop_seconds())
        self._log.info("partitions_assigned", partitions=len(assigned))
        self._health.tell("assignment", None)
