"""A producer that does what a test says, and an outbox in memory: for interleavings that no server shows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ProducerClosed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from countersign.runtime.messages.record import Outgoing

OPEN = object()  # an acknowledgement that does not come by itself


class ScriptedProducer:
    """Answers each record with the next entry of its topic's script: None, an exception or OPEN. Without one, None.

    `sent` is what was sent, in order. Partitions are known at once, one for each topic.
    """

    def __init__(self, script: dict[str, list[object]], start: asyncio.Event | BaseException | None = None) -> None:
        self.script = script
        self.sent: list[Outgoing] = []
        self.alone: list[Outgoing] = []
        self.open: list[tuple[Outgoing, asyncio.Future[Any]]] = []
        self.dead = False
        self.stopped = False
        self._start = start

    async def start(self) -> None:
        if isinstance(self._start, BaseException):
            raise self._start
        if self._start is not None:
            await self._start.wait()

    async def find(self, topic: str) -> None:
        del topic
        await asyncio.sleep(0)

    def partition_of(self, topic: str, key: bytes) -> int | None:
        del topic, key
        return 0

    async def send(self, record: Outgoing) -> asyncio.Future[Any]:
        if self.stopped:
            raise ProducerClosed
        self.sent.append(record)
        ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        script = self.script.get(record.topic)
        match script.pop(0) if script else None:
            case None:
                ack.set_result(None)
            case BaseException() as error:
                ack.set_exception(error)
            case _:
                self.open.append((record, ack))
        return ack

    async def send_alone(self, record: Outgoing) -> asyncio.Future[Any]:
        self.alone.append(record)
        return await self.send(record)

    def answer(self, topic: str, error: BaseException | None = None) -> None:
        """Let the open acknowledgements of a topic come."""
        for record, ack in self.open:
            if record.topic == topic and not ack.done():
                if error is None:
                    ack.set_result(None)
                else:
                    ack.set_exception(error)

    async def reach(self) -> None:
        await asyncio.sleep(0)

    async def stop(self, seconds: float) -> None:
        del seconds
        self.stopped = True
        for _, ack in self.open:
            if not ack.done():
                ack.set_exception(ProducerClosed())


class RowsInMemory:
    """An outbox without a server. While `away` is set, everything fails."""

    def __init__(self) -> None:
        self.away = False
        self.there: set[UUID] = set()
        self.parked: dict[UUID, str] = {}
        self.given_back: list[UUID] = []
        self.belongs: dict[UUID, int | None] = {}
        self.extended: list[UUID] = []

    def _ask(self) -> None:
        if self.away:
            raise ConnectionError("the database is away")

    async def forget(self, event_ids: Sequence[UUID]) -> None:
        self._ask()
        self.there -= set(event_ids)

    async def extend(self, event_ids: Sequence[UUID]) -> set[UUID]:
        self._ask()
        self.extended += event_ids
        return self.there & set(event_ids) - self.parked.keys()

    async def give_back(self, event_ids: Sequence[UUID], partitions: Sequence[int | None]) -> None:
        self._ask()
        self.given_back += event_ids
        self.belongs.update(zip(event_ids, partitions, strict=True))

    async def park(self, event_id: UUID, reason: str) -> None:
        self._ask()
        self.parked[event_id] = reason
