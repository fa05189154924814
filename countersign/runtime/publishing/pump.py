"""Moves the rows of a lane to Kafka: send, wait for the acknowledgements, sort them, try again after a pause."""

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
    from countersign.runtime.publishing.lane import Lane
    from countersign.runtime.publishing.owned import Owned
    from countersign.runtime.publishing.producing import Producing
    from countersign.runtime.publishing.troubles import Troubles
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.metrics import Metrics


class Pump:
    """Empties lanes. `place` puts a row into the lane of its partition."""

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

    async def empty(self, lane: Lane) -> None:
        """Try until nothing is left in the lane."""
        while not lane.empty:
            lane.since = loop_seconds()
            failed = await self._try(lane)
            lane.since = None
            if failed is not None and self._stopping.is_set():
                return
            if failed is not None:
                self._give_back(lane)
                await self._pause(lane.backoff.next())
        self._troubles.well(lane)

    async def _try(self, lane: Lane) -> Answer | None:
        """Try once. Return what failed, so that the lane has to wait; None if it may go on."""
        try:
            await self._producer()
            if lane.partition is None:
                await self._find(lane)
                return None
        except TROUBLE as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            self._troubles.failed(lane, answer := answer_of(error), len(lane.waiting))
            return answer
        if rows := lane.next(self._owned.may_send):
            return self._sort(lane, rows, await self._acknowledged(rows))
        return await self._try_alone(lane)

    async def _producer(self) -> None:
        """Return when there is a producer: one lane tries to start it, the others wait for that one."""
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

    async def _find(self, lane: Lane) -> None:
        """Put the rows of a topic into the lanes of their partitions."""
        await self._producing.find(lane.topic)
        if self._producing.partition_of(lane.topic, b"") is None:
            raise UnknownTopicOrPartitionError
        rows, waiting = list(lane.waiting), lane.waiting
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

    def _sort(self, lane: Lane, rows: Sequence[Outgoing], answers: Sequence[Answer]) -> Answer | None:
        again = []
        failed: Answer | None = None
        for row, answer in zip(rows, answers, strict=True):
            if answer.ack is Ack.REFUSED:
                lane.suspects.append(row)
            elif answer.ack is not Ack.DONE:
                again.append(row)
                failed = answer
        lane.waiting.extendleft(reversed(again))
        if failed is not None:
            self._troubles.failed(lane, failed, len(again))
        elif not lane.suspects:
            self._troubles.well(lane)
        return failed

    async def _try_alone(self, lane: Lane) -> Answer | None:
        """Try a row that was refused in a batch with others. Refused alone, it is refused for good."""
        while lane.suspects:
            row = lane.suspects.popleft()
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
                    lane.suspects.appendleft(row)
                    self._troubles.failed(lane, answer, 1)
                    return answer
        return None

    def _give_back(self, lane: Lane) -> None:
        if lane.trouble is not None:
            for row in lane.surplus():
                self._owned.give_back(row.event_id)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than the process lives."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
