"""Deletes what no longer counts: it would change nothing, but it would still be there to be stolen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.due import Waker
from services.gateway import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Outgoing

EVERY_SECONDS = 300.0  # chosen: a session that is over opens nothing meanwhile


class Sweep:
    """Work that is due every few minutes and is done while it is taken."""

    name = "sweep"
    every = EVERY_SECONDS
    parallel = 1

    def __init__(self) -> None:
        self.waker = Waker()

    async def take(self, db: Connection, limit: int) -> Sequence[int]:
        """Sweep; there is nothing to act on afterwards."""
        del limit
        await store.sweep(db)
        return ()

    async def act(self, item: int) -> int:
        """Not reached: `take` gives nothing."""
        return item

    async def settle(self, db: Connection, done: Sequence[int]) -> list[Outgoing]:
        """Not reached: `take` gives nothing."""
        del db, done
        return []
