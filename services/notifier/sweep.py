"""Texts older than any topic that could bring their challenge back are deleted, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.due import Waker
from services.notifier import store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Outgoing


class Sweep:
    """Deletes old texts. Two at it at once skip each other's rows."""

    name = "sweep"
    every = 600.0
    parallel = 2  # one more than ever in flight, so that it pauses after each

    def __init__(self) -> None:
        self.waker = Waker()

    async def take(self, db: Connection, limit: int) -> Sequence[None]:
        del db, limit
        return [None]

    async def act(self, item: None) -> None:
        """Do nothing: the deleting is one short transaction, and that is the settling."""

    async def settle(self, db: Connection, done: Sequence[None]) -> list[Outgoing]:
        del done
        if await store.forget(db):
            self.waker.wake()
        return []
