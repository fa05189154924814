"""The producer of a process: started once for all who wait, replaced only when it is dead, closed completely."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ProducerClosed

from countersign.runtime.publishing.acks import DONE, Ack, Answer, answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.producer import Producer

RETIRED_SECONDS_MAX = 30.0  # ours: how long a replaced producer may wait for its records in flight
STOP_SECONDS_MAX = 1.0  # ours: of one that nobody waits for


class _Held:
    """A producer and how many callers wait for its acknowledgements."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self._callers = 0
        self.idle = asyncio.Event()
        self.idle.set()

    @contextmanager
    def used(self) -> Iterator[Producer]:
        """Lend the producer. While it is lent it is not closed."""
        self._callers += 1
        self.idle.clear()
        try:
            yield self.producer
        finally:
            self._callers -= 1
            if not self._callers:
                self.idle.set()


class Producing:
    """Owns the producer of a process. Many callers use it at once, each with a deadline of its own.

    `made` is the number of producers made so far.
    """

    def __init__(self, make: Callable[[], Producer]) -> None:
        self._make = make
        self._current: _Held | None = None
        self._starting: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retired: set[_Held] = set()
        self._closing: asyncio.Task[None] | None = None
        self.made = 0

    async def ready(self) -> None:
        """Return when there is a producer. Raises KafkaError or OSError if it cannot be started."""
        await self._running()

    def partition_of(self, topic: str, key: bytes) -> int | None:
        """Return the partition of a key; None if it is not known before `find` returns."""
        return None if self._current is None else self._current.producer.partition_of(topic, key)

    async def find(self, topic: str) -> None:
        """Return when the partitions of a topic are known. Raises KafkaError or OSError."""
        held = await self._running()
        with held.used() as producer:
            await producer.find(topic)

    async def reach(self) -> None:
        """Return when a broker has answered. Raises KafkaError or OSError."""
        held = await self._running()
        with held.used() as producer:
            await producer.reach()

    async def publish(self, records: Sequence[Outgoing]) -> list[Answer]:
        """Send records and wait for their acknowledgements. Return one answer for each, in order; raises nothing.

        A caller that is cancelled leaves its records with the producer: they may still arrive.
        """
        return await self._sent(records, alone=False)

    async def publish_alone(self, record: Outgoing) -> Answer:
        """Do the same with one record in a batch of its own, so that the answer is about this record."""
        (answer,) = await self._sent([record], alone=True)
        return answer

    async def close(self, seconds: float) -> None:
        """End all producers, waiting so long for what is in flight. Nothing can be published afterwards."""
        if self._closing is None:
            self._closing = self._task(self._close(seconds))
        await asyncio.shield(self._closing)

    async def _sent(self, records: Sequence[Outgoing], *, alone: bool) -> list[Answer]:
        try:
            held = await self._running()
        except Exception as error:  # noqa: BLE001 - sorted by the caller, by its answer
            answer = answer_of(error)
            # A start that fails says nothing about the records.
            answer = answer if answer.ack is Ack.NO_RIGHTS else Answer(Ack.AGAIN, error)
            return [answer] * len(records)
        with held.used() as producer:
            answers = await _through(producer, records, alone=alone)
        if producer.dead:
            answers = [replace(each, producer_dead=True) if each.ack is Ack.AGAIN else each for each in answers]
        if producer.dead or any(answer.producer_dead for answer in answers):
            self._replace(held)
        return answers

    async def _running(self) -> _Held:
        """Return the producer; whoever finds none starts one, and all who come meanwhile wait for that one."""
        while True:
            if self._closing is not None:
                raise ProducerClosed
            if self._current is not None and self._current.producer.dead:
                self._replace(self._current)
            if self._current is not None:
                return self._current
            if self._starting is None:
                self._starting = self._task(self._start())
            starting = self._starting
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                if self._closing is not None and starting.cancelled():
                    raise ProducerClosed from None
                raise

    async def _start(self) -> None:
        try:
            self.made += 1
            producer = self._make()
            try:
                await producer.start()
            except BaseException:
                await producer.stop(0)
                raise
            self._current = _Held(producer)
        finally:
            self._starting = None

    def _replace(self, failed: _Held) -> None:
        """Let go of a dead producer, unless somebody else has done so already."""
        if self._current is failed:
            self._current = None
            self._task(self._retire(failed))

    async def _retire(self, held: _Held) -> None:
        """Close a producer when nobody waits for it any more: other partitions may still acknowledge."""
        self._retired.add(held)
        with suppress(TimeoutError):
            async with asyncio.timeout(RETIRED_SECONDS_MAX):
                await held.idle.wait()
        await held.producer.stop(STOP_SECONDS_MAX)
        self._retired.discard(held)

    async def _close(self, seconds: float) -> None:
        if self._starting is not None:
            self._starting.cancel()
        for held in self._retired:
            held.idle.set()  # they are not waited for any longer
        current, self._current = self._current, None
        if current is not None:
            await current.producer.stop(seconds)
        if others := self._tasks - {self._closing}:
            await asyncio.wait(others)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something that no caller owns, so that none can interrupt it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited for it has got it; if nobody does any more, nobody has to be told


async def _through(producer: Producer, records: Sequence[Outgoing], *, alone: bool) -> list[Answer]:
    """Send records and return their answers. After one that could not be queued the rest is not sent."""
    send = producer.send_alone if alone else producer.send
    answers: list[Answer] = []
    acks: list[asyncio.Future[Any]] = []
    queued: list[int] = []
    for number, record in enumerate(records):
        try:
            acks.append(await send(record))
            queued.append(number)
            answers.append(DONE)
        except Exception as error:  # noqa: BLE001 - sorted by `answer_of`
            answers.append(answer_of(error))
            if answers[-1].ack is not Ack.REFUSED:
                break
    answers += [answers[-1]] * (len(records) - len(answers))
    results = await asyncio.gather(*acks, return_exceptions=True)
    for number, result in zip(queued, results, strict=True):
        failed = isinstance(result, BaseException)
        answers[number] = answer_of(result) if failed else Answer(Ack.DONE, place=result)
    return answers
