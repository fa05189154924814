"""Moves the rows of a queue to Kafka: send, wait for the acknowledgements, sort them, try again after a pause."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from aiokafka.errors import UnknownTopicOrPartitionError

from countersign.clock import loop_seconds
from countersign.runtime.backoff import Backoff
from countersign.runtime.publishing.acks import TROUBLE, Ack, answer_of
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from countersign.runtime.backoff import Chance
    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.acks import Answer
    from countersign.runtime.publishing.owned import Owned
    from countersign.runtime.publishing.partition_queue import PartitionQueue
    from countersign.runtime.publishing.producing import Producing
    from countersign.runtime.publishing.troubles import Troubles
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.metrics import Metrics


class Pump:
    """Empties queues. `place` puts a row into the queue of its partition."""

    def __init__(  # noqa: PLR0913 - what a publisher has
        self,
        producing: Producing,
        owned: Owned,
        troubles: Troubles,
        *,
        place: Callable[[Outgoing], None],
        metrics: Metrics,
        checkpoint: Checkpoint,
        chance: Chance | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._producing = producing
        self._owned = owned
        self._troubles = troubles
        self._place = place
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._tracer = tracer
        self._one_starts = asyncio.Lock()
        self._starting = Backoff(chance)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let no try follow a failed one."""
        self._stopping.set()

    async def empty(self, queue: PartitionQueue) -> None:
        """Try until nothing is left in the queue."""
        while not queue.empty:
            queue.since = loop_seconds()
            failed = await self._try(queue)
            queue.since = None
            if failed is not None and self._stopping.is_set():
                return
            if failed is not None:
                self._give_back(queue)
                await self._pause(queue.backoff.next())
        self._troubles.well(queue)

    async def _try(self, queue: PartitionQueue) -> Answer | None:
        """Try once. Return what failed, so that the queue has to wait; None if it may go on."""
        try:
            await self._producer()
            if queue.partition is None:
                await self._find(queue)
                return None
        except TROUBLE as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            self._troubles.failed(queue, answer := answer_of(error), len(queue.waiting))
            return answer
        if rows := queue.next(self._owned.may_send):
            return self._sort(queue, rows, await self._acknowledged(rows))
        return await self._try_alone(queue)

    async def _producer(self) -> None:
        """Return when there is a producer: one queue tries to start it, the others wait for that one."""
        async with self._one_starts:
            while True:
                try:
                    await self._producing.ready()
                except (*TROUBLE, ValueError) as error:
                    if isinstance(error, asyncio.CancelledError) or self._stopping.is_set():
                        raise
                    self._troubles.no_producer(answer_of(error))
                    await self._pause(self._starting.next())
                else:
                    self._starting.reset()
                    self._troubles.producer()
                    return

    async def _find(self, queue: PartitionQueue) -> None:
        """Put the rows of a topic into the queues of their partitions."""
        await self._producing.find(queue.topic)
        if self._producing.partition_of(queue.topic, b"") is None:
            raise UnknownTopicOrPartitionError
        rows, waiting = list(queue.waiting), queue.waiting
        waiting.clear()
        for row in rows:
            self._place(row)

    async def _acknowledged(self, rows: Sequence[Outgoing]) -> list[Answer]:
        began = self._tracer.clock()
        answers = await self._producing.publish(rows)
        for row, answer in zip(rows, answers, strict=True):
            if answer.ack is Ack.DONE:
                self._done(row, answer, began)
        await self._checkpoint("published")
        return answers

    def _done(self, row: Outgoing, answer: Answer, began: int) -> None:
        self._owned.done(row.event_id)
        self._metrics.published.labels(row.topic).inc()
        self._tracer.sent(row, answer.place, began)

    def _sort(self, queue: PartitionQueue, rows: Sequence[Outgoing], answers: Sequence[Answer]) -> Answer | None:
        again = []
        failed: Answer | None = None
        for row, answer in zip(rows, answers, strict=True):
            if answer.ack is Ack.REFUSED:
                queue.suspects.append(row)
            elif answer.ack is not Ack.DONE:
                again.append(row)
                failed = answer
        queue.waiting.extendleft(reversed(again))
        if failed is not None:
            self._troubles.failed(queue, failed, len(again))
        elif not queue.suspects:
            self._troubles.well(queue)
        return failed

    async def _try_alone(self, queue: PartitionQueue) -> Answer | None:
        """Try a row that was refused in a batch with others. Refused alone, it is refused for good."""
        while queue.suspects:
            row = queue.suspects.popleft()
            if not self._owned.may_send(row.event_id):
                continue
            began = self._tracer.clock()
            answer = await self._producing.publish_alone(row)
            match answer.ack:
                case Ack.DONE:
                    self._done(row, answer, began)
                    await self._checkpoint("published")
                case Ack.REFUSED:
                    self._owned.refuse(row, answer.reason)
                case Ack.AGAIN | Ack.NO_RIGHTS:
                    queue.suspects.appendleft(row)
                    self._troubles.failed(queue, answer, 1)
                    return answer
        return None

    def _give_back(self, queue: PartitionQueue) -> None:
        if queue.trouble is not None:
            for row in queue.surplus():
                self._owned.give_back(row.event_id, queue.partition)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than the process lives."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
