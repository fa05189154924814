"""Faults that publishing once had, put back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from countersign.client.requests import AccessRequests, KafkaAwayError
from countersign.runtime.due_work.left_over import LeftOver
from countersign.runtime.publishing import acks, outbox, producing, pump
from countersign.runtime.publishing.acks import Ack, Answer
from countersign.runtime.publishing.owned import Owned
from countersign.runtime.publishing.partition_queue import PartitionQueue
from countersign.runtime.publishing.producer import AiokafkaProducer
from countersign.runtime.publishing.publisher import Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.messages.record import Outgoing


def close_for_all() -> None:
    """A failed submission closes the producer that others use at that moment."""
    submit = AccessRequests.submit

    async def faulty(self: AccessRequests, *args: Any, **kwargs: Any) -> None:
        try:
            await submit(self, *args, **kwargs)
        except KafkaAwayError:
            await self.close()
            raise

    AccessRequests.submit = faulty  # type: ignore[method-assign]


def interrupt_stop() -> None:
    """Aiokafka's stop is interrupted after two seconds and leaves its task and its connections."""

    async def faulty(self: AiokafkaProducer, _seconds: float) -> None:
        with suppress(Exception):
            async with asyncio.timeout(2):
                await self._inner.stop()

    AiokafkaProducer.stop = faulty  # type: ignore[method-assign]


def never_park() -> None:
    """A row that is refused for good is tried again for ever."""

    def faulty(error: BaseException) -> Answer:
        answer = acks.answer_of(error)
        return Answer(Ack.AGAIN, error) if answer.ack is Ack.REFUSED else answer

    for module in (producing, pump):
        module.answer_of = faulty  # type: ignore[attr-defined]


def own_twice() -> None:
    """What waits in memory keeps no lease, and what the sweeper finds waits beside it: each is published."""

    async def no_renewal(_self: Owned) -> None:
        pass

    def hand(self: Publisher, due: Sequence[Outgoing]) -> None:
        for row in due:
            self._owned.own(row.event_id)
            self._put(self._queue(row), row)

    sweep_on()
    Publisher.hand = hand  # type: ignore[method-assign]
    PartitionQueue.surplus = lambda _self: []  # type: ignore[method-assign]
    Owned.may_send = lambda _self, _event_id: True  # type: ignore[method-assign]
    Owned.renew = no_renewal  # type: ignore[method-assign]


def share_one_slot() -> None:
    """A queue that waits keeps the slot that another one needs."""
    empty = Publisher._empty

    async def faulty(self: Publisher, queue: Any) -> None:
        slots = self.__dict__.setdefault("_slots", asyncio.Semaphore(1))
        async with slots:
            await empty(self, queue)

    Publisher._empty = faulty  # type: ignore[method-assign]


def sweep_on() -> None:
    """The sweeper does not ask whether there is room, and goes on in an outage."""

    async def faulty(self: LeftOver, db: Any, limit: int) -> Sequence[Outgoing]:
        await self._look(db)
        return await outbox.take(db, limit)

    LeftOver.take = faulty  # type: ignore[method-assign]
