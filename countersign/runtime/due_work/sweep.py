"""What is older than anything that could ask for it is deleted, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.due_work.settled import Settled
from countersign.runtime.due_work.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from countersign.runtime.database.postgres import Connection


class Sweep:
    """Due work of every service that keeps rows for a time. Two at it at once skip each other's rows.

    `delete` deletes a helping (SKIP LOCKED) and returns how many rows that were; while there are any, it is asked
    again at once.
    """

    name = "sweep"
    parallel = 2  # one more than is ever in flight, so that it pauses after each
    leases = False

    def __init__(self, delete: Callable[[Connection], Awaitable[int]], every: float = 600.0) -> None:
        self.every = every
        self.waker = Waker()
        self._delete = delete

    async def take(self, db: Connection, limit: int) -> Sequence[None]:
        """Return the one thing to do."""
        del db, limit
        return [None]

    async def act(self, item: None) -> None:
        """Do nothing outside the database: deleting is settling."""

    async def settle(self, db: Connection, done: Sequence[None]) -> Settled[int]:
        """Delete a helping."""
        del done
        return Settled(done=[await self._delete(db)])

    def committed(self, done: Sequence[int]) -> None:
        """Ask again at once while there are any."""
        if any(done):
            self.waker.wake()
