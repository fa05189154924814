"""How many calls for one challenge may wait in this process, and that only one of them holds a connection."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

WAITING_MAX = 8  # decision 15: no flood on one challenge takes the pool


class CrowdedError(Exception):
    """As many as may wait for this challenge wait already."""


@dataclass(slots=True)
class _Door:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    inside: int = 0


class Crowd:
    """A door a challenge: one goes in at a time, in the order they came, and few wait before it."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._doors: dict[UUID, _Door] = {}

    @asynccontextmanager
    async def through(
        self, challenge_id: UUID, waiting: AbstractContextManager[None] | None = None
    ) -> AsyncIterator[None]:
        """Go through the challenge's door when it is free. Raises CrowdedError, at once.

        `waiting` is held until then, and not inside: it may cancel who waits, and never who has begun.
        """
        door = self._doors.setdefault(challenge_id, _Door())
        if door.inside >= self._waiting_max:
            raise CrowdedError
        door.inside += 1
        try:
            with waiting or nullcontext():
                await door.lock.acquire()
            try:
                yield
            finally:
                door.lock.release()
        finally:
            door.inside -= 1
            if door.inside == 0:
                del self._doors[challenge_id]
