"""An idempotent producer with the surface of aiokafka's that the runtime uses, inner parts included, and its failures.

Batches whose leader is away expire. Others are tried again without an end, as aiokafka does with idempotence.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaTimeoutError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)
from aiokafka.partitioner import DefaultPartitioner

from tests.sim.broker.client import Client
from tests.sim.world.current import current

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.sim.world.loop import SimFuture, SimTask

REQUEST_BYTES_MAX = 1_048_576  # aiokafka's default
_partitioner = DefaultPartitioner()


@lru_cache(maxsize=1000)
def _partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key, as aiokafka does."""
    number: int = _partitioner(key, list(range(partitions)), [])
    return number


class Owed:
    """A record that waits for its acknowledgement. `is_alone`: it is a batch of its own."""

    __slots__ = ("ack", "expires_at", "headers", "is_alone", "key", "retry_count", "value")

    def __init__(
        self, key: bytes | None, value: bytes | None, headers: Iterable[Any], ack: SimFuture, expires_at: float
    ) -> None:
        self.key, self.value, self.headers = key, value, tuple(headers)
        self.ack, self.expires_at = ack, expires_at
        self.is_alone = False
        self.retry_count = 0

    @property
    def _drain_waiter(self) -> SimFuture:
        return self.ack

    def failure(self, error: BaseException) -> None:
        """End with an error, unless it has ended."""
        if not self.ack.done():
            self.ack.set_exception(error)
            self.ack.exception()

    def done(self, answer: object) -> None:
        """End with what the broker says, unless it has ended."""
        if isinstance(answer, Exception):
            self.failure(answer)
        elif not self.ack.done():
            self.ack.set_result(answer)


class _Pending(dict[Owed, None]):
    """A set that keeps its order."""

    def update(self, found: Iterable[Owed]) -> None:  # type: ignore[override] # that of a set
        for owed in found:
            self[owed] = None


class _Sender:
    """The task in the background of a producer; in this stand-in it ends when it is cancelled, or dead."""

    def __init__(self, producer: SimProducer) -> None:
        self.sender_task: SimTask | None = None
        self.died: SimFuture = producer.client.loop.create_future()

    async def run(self) -> None:
        await asyncio.wait([self.died])

    async def close(self) -> None:
        task = self.sender_task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])


class _Accumulator:
    """What waits to be sent, and what waits for its acknowledgement."""

    def __init__(self) -> None:
        self._batches: dict[TopicPartition, deque[Owed]] = {}
        self._pending_batches = _Pending()
        self._exception: Exception | None = None
        self._closed = False

    async def close(self) -> None:
        self._closed = True
        await self.flush()

    async def flush(self) -> None:
        if acks := [owed.ack for owed in self.owed()]:
            await asyncio.wait(acks)

    def owed(self) -> list[Owed]:
        waiting = [owed for part in self._batches.values() for owed in part]
        return [owed for owed in (*self._pending_batches, *waiting) if not owed.ack.done()]

    def add(self, place: TopicPartition, owed: Owed) -> None:
        if self._closed:
            raise ProducerClosed
        if self._exception is not None:
            raise copy.copy(self._exception)
        self._batches.setdefault(place, deque()).append(owed)

    def take(self, place: TopicPartition) -> list[Owed]:
        """Take the next batch: one record that is alone, or all up to such a one."""
        waiting = self._batches[place]
        batch = [waiting.popleft()]
        while waiting and not (batch[0].is_alone or waiting[0].is_alone):
            batch.append(waiting.popleft())
        return batch


class _OneRecord:
    """A batch that somebody builds: of one record, here."""

    def append(self, *, key: bytes | None, value: bytes | None, timestamp: None, headers: Sequence[Any]) -> None:
        del timestamp
        self.key, self.value, self.headers = key, value, headers

    def close(self) -> None:
        """Take no more."""


class SimProducer:
    """Stands in for AIOKafkaProducer."""

    def __init__(self, **arguments: Any) -> None:
        self.client = Client("producer", arguments, self)
        self._loop = self.client.loop
        self._broker = self.client.broker
        self._sender = _Sender(self)
        self._message_accumulator = _Accumulator()
        self._closed = False
        self._in_flight: dict[TopicPartition, list[Owed]] = {}
        self._is_scheduled: set[TopicPartition] = set()

    async def start(self) -> None:
        await self.client.bootstrap()
        while not self._broker.answers:
            await self.client.changed()
        self._sender.sender_task = self._loop.create_task(self._sender.run())

    async def partitions_for(self, topic: str) -> set[int]:
        await self._find(topic)
        return set(range(len(self._broker.topics[topic])))

    async def _find(self, topic: str) -> None:
        if topic in self.client.cluster.known:
            return
        if topic not in self._broker.topics:
            await asyncio.sleep(self.client.seconds_max)
            raise KafkaTimeoutError("no such topic")
        await self.client.request()
        self.client.cluster.known.add(topic)

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Any:
        await self._find(topic)
        if len(value or b"") + len(key or b"") > REQUEST_BYTES_MAX:
            raise MessageSizeTooLargeError("larger than max_request_size")
        number = _partition_of(key, len(self._broker.topics[topic])) if partition is None else partition
        return self._owe(TopicPartition(topic, number), key, value, headers or (), is_alone=False)

    def create_batch(self) -> _OneRecord:
        return _OneRecord()

    async def send_batch(self, batch: _OneRecord, topic: str, *, partition: int) -> Any:
        return self._owe(TopicPartition(topic, partition), batch.key, batch.value, batch.headers, is_alone=True)

    def _owe(
        self,
        place: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        *,
        is_alone: bool,
    ) -> SimFuture:
        ack = self._loop.create_future()
        owed = Owed(key, value, headers, ack, self._loop.time() + self.client.seconds_max)
        owed.is_alone = is_alone
        self._message_accumulator.add(place, owed)
        current().sent(self, place.topic, owed)
        self._drain_soon(place, self._broker.latency() / 2)
        return ack

    async def send_and_wait(self, topic: str, value: bytes | None = None, **rest: Any) -> Any:
        return await (await self.send(topic, value, **rest))

    async def flush(self) -> None:
        await self._message_accumulator.flush()

    async def stop(self) -> None:
        """Flush and close. Who cancels this leaves the sender's task and the connections open, as in aiokafka."""
        if self._closed:
            return
        self._closed = True
        if self._sender.sender_task is not None:
            closing = self._loop.create_task(self._message_accumulator.close())
            await asyncio.wait([closing, self._sender.sender_task], return_when=asyncio.FIRST_COMPLETED)
            await self._sender.close()
        await self.client.close()

    def _drain_soon(self, place: TopicPartition, seconds: float) -> None:
        if place not in self._is_scheduled:
            self._is_scheduled.add(place)
            self._loop.call_later(seconds, self._drain, place)

    def _drain(self, place: TopicPartition) -> None:
        """Send what waits for a partition, one request at a time."""
        self._is_scheduled.discard(place)
        task, waiting = self._sender.sender_task, self._message_accumulator._batches.get(place)
        if not waiting or place in self._in_flight or (task is not None and task.done()):
            return
        broker = self._broker
        if not broker.answers or place in broker.leaderless:
            self._expire(place, waiting)
            broker.when_changed(lambda: self._drain_soon(place, 0.1 * broker.rng.random()))
            return
        batch = self._in_flight[place] = self._message_accumulator.take(place)
        self._message_accumulator._pending_batches.update(batch)
        if broker.breaks_producers:
            broker.breaks_producers -= 1
            self._die(OutOfOrderSequenceNumber("the simulated broker lost the sequence"))
            return
        answers = self._answers(place, batch)
        wait = broker.latency()
        if broker.loses_acks:
            wait += self.client.seconds_max
        self._loop.call_later(wait, self._acknowledge, place, answers)

    def _answers(self, place: TopicPartition, batch: list[Owed]) -> list[object]:
        """Append a batch, whole or not at all."""
        broker = self._broker
        refused = (broker.refused.get(place.topic) or broker.refuses(owed.key) for owed in batch)
        error = next((one for one in refused if one is not None), None)
        if error is not None:
            return [error() for _ in batch]
        return [broker.append(place, owed.key, owed.value, owed.headers) for owed in batch]

    def _acknowledge(self, place: TopicPartition, answers: list[object]) -> None:
        if not self._broker.answers:
            self._broker.when_changed(lambda: self._loop.call_later(0.1, self._acknowledge, place, answers))
            return
        for owed, answer in zip(self._in_flight.pop(place, ()), answers, strict=False):
            self._message_accumulator._pending_batches.pop(owed, None)
            owed.done(answer)
        if self._message_accumulator._batches.get(place):
            self._drain_soon(place, 0.0)

    def _expire(self, place: TopicPartition, waiting: deque[Owed]) -> None:
        """Fail what has waited too long for a leader. While no broker answers, nothing expires."""
        if place not in self._broker.leaderless or not self._broker.answers:
            return
        now = self._loop.time()
        while waiting and waiting[0].expires_at <= now:
            waiting.popleft().failure(LeaderNotAvailableError())
        if waiting:
            self._loop.call_at(waiting[0].expires_at + 0.001, self._drain, place)

    def _die(self, error: Exception) -> None:
        self._message_accumulator._exception = error
        for owed in self._message_accumulator.owed():
            owed.failure(error)
        if not self._sender.died.done():
            self._sender.died.set_result(None)
