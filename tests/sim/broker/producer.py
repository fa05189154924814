"""An idempotent producer with the surface of aiokafka's that the runtime uses, and its ways to fail."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaTimeoutError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)

from tests.sim.broker.client import Client
from tests.sim.world.current import current

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sim.world.loop import SimFuture, SimTask

REQUEST_BYTES_MAX = 1_048_576  # aiokafka's default


class Owed(NamedTuple):
    """A record that waits for its ack."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    ack: SimFuture
    expires_at: float


class _Sender:
    """The task in the background of a producer; in this stand-in it only ends when it is cancelled, or dead."""

    def __init__(self, producer: SimProducer) -> None:
        self.sender_task: SimTask | None = None
        self.dead: SimFuture = producer.client.loop.create_future()

    async def run(self) -> None:
        await asyncio.wait([self.dead])

    async def close(self) -> None:
        task = self.sender_task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])


class _Accumulator:
    def __init__(self, producer: SimProducer) -> None:
        self._producer = producer

    async def close(self) -> None:
        self._producer.takes_more = False
        await self.flush()

    async def flush(self) -> None:
        acks = [owed.ack for owed in self._producer.owed()]
        if acks:
            await asyncio.wait(acks)


class SimProducer:
    """Stands in for AIOKafkaProducer. Batches whose leader is away expire; others are tried again without an end."""

    def __init__(self, **arguments: Any) -> None:
        self.client = Client("producer", arguments, self)
        self._loop = self.client.loop
        self._broker = self.client.broker
        self._sender = _Sender(self)
        self._message_accumulator = _Accumulator(self)
        self._closed = False
        self.takes_more = True
        self._exception: Exception | None = None
        self._waiting: dict[TopicPartition, deque[Owed]] = {}
        self._in_flight: dict[TopicPartition, list[Owed]] = {}
        self._is_scheduled: set[TopicPartition] = set()
        self._known: set[str] = set()

    async def start(self) -> None:
        await self.client.bootstrap()
        while not self._broker.answers:
            await self.client.changed()
        self._sender.sender_task = self._loop.create_task(self._sender.run())

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
    ) -> Any:
        if topic not in self._broker.topics:
            await asyncio.sleep(self.client.seconds_max)
            raise KafkaTimeoutError("no such topic")
        if topic not in self._known:
            await self.client.request()
            self._known.add(topic)
        if len(value or b"") + len(key or b"") > REQUEST_BYTES_MAX:
            raise MessageSizeTooLargeError("larger than max_request_size")
        number = crc32(key or b"") % len(self._broker.topics[topic]) if partition is None else partition
        if not self.takes_more:
            raise ProducerClosed
        if self._exception is not None:
            raise copy.copy(self._exception)
        place = TopicPartition(topic, number)
        ack = self._loop.create_future()
        owed = Owed(key, value, tuple(headers or ()), ack, self._loop.time() + self.client.seconds_max)
        self._waiting.setdefault(place, deque()).append(owed)
        current().sent(self, topic, owed)
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

    def owed(self) -> list[Owed]:
        """Return the records that wait for an ack."""
        parts = [*self._waiting.values(), *self._in_flight.values()]
        return [owed for part in parts for owed in part if not owed.ack.done()]

    def _drain_soon(self, place: TopicPartition, seconds: float) -> None:
        if place not in self._is_scheduled:
            self._is_scheduled.add(place)
            self._loop.call_later(seconds, self._drain, place)

    def _drain(self, place: TopicPartition) -> None:
        """Send what waits for a partition, one request at a time."""
        self._is_scheduled.discard(place)
        task = self._sender.sender_task
        waiting = self._waiting.get(place)
        if not waiting or place in self._in_flight or (task is not None and task.done()):
            return
        broker = self._broker
        if not broker.answers or place in broker.leaderless:
            self._expire(place, waiting)
            broker.when_changed(lambda: self._drain_soon(place, 0.1 * broker.rng.random()))
            return
        batch = self._in_flight[place] = list(waiting)
        waiting.clear()
        if broker.breaks_producers:
            broker.breaks_producers -= 1
            self._die(OutOfOrderSequenceNumber("the simulated broker lost the sequence"))
            return
        answers = [self._append(place, owed) for owed in batch]
        wait = broker.latency()
        if broker.loses_acks:
            wait += self.client.seconds_max
        self._loop.call_later(wait, self._acknowledge, place, answers)

    def _append(self, place: TopicPartition, owed: Owed) -> object:
        broker = self._broker
        error = broker.refused.get(place.topic) or broker.refuses(owed.key)
        if error is not None:
            return error()
        return broker.append(place, owed.key, owed.value, owed.headers)

    def _acknowledge(self, place: TopicPartition, answers: list[object]) -> None:
        if not self._broker.answers:
            self._broker.when_changed(lambda: self._loop.call_later(0.1, self._acknowledge, place, answers))
            return
        for owed, answer in zip(self._in_flight.pop(place, ()), answers, strict=False):
            _settle(owed, answer)
        if self._waiting.get(place):
            self._drain_soon(place, 0.0)

    def _expire(self, place: TopicPartition, waiting: deque[Owed]) -> None:
        """Fail what has waited too long for a leader. While no broker answers, nothing expires."""
        if place not in self._broker.leaderless or not self._broker.answers:
            return
        now = self._loop.time()
        while waiting and waiting[0].expires_at <= now:
            _settle(waiting.popleft(), LeaderNotAvailableError())
        if waiting:
            self._loop.call_at(waiting[0].expires_at + 0.001, self._drain, place)

    def _die(self, error: Exception) -> None:
        self._exception = error
        for owed in self.owed():
            _settle(owed, error)
        if not self._sender.dead.done():
            self._sender.dead.set_result(None)


def _settle(owed: Owed, answer: object) -> None:
    if owed.ack.done():
        return
    if isinstance(answer, Exception):
        owed.ack.set_exception(answer)
        owed.ack.exception()
    else:
        owed.ack.set_result(answer)
