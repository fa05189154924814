"""What is older than anything that could ask for it is deleted, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime import retention
from countersign.runtime.due_work import own_tables
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.retention import Rule


class Sweep:
    """Due work of every service: the rules of its tables, and those of the runtime's tables in its schema.

    Two processes at it at once skip each other's rows. While a rule has more rows than a helping, it goes on at once.
    """

    name = "sweep"
    parallel = 2  # one more than is ever in flight, so that it pauses after each
    leases = False
    settles_at_once = False

    def __init__(self, rules: Sequence[Rule], every: float = 600.0) -> None:
        self.every = every
        self.waker = Waker()
        self._rules = (*own_tables.RULES, *rules)

    async def take(self, db: Connection, limit: int) -> Sequence[None]:
        """Return the one thing to do."""
        del db, limit
        return [None]

    async def act(self, item: None) -> None:
        """Do nothing outside the database: deleting is settling."""

    async def settle(self, db: Connection, done: Sequence[None]) -> Settled[bool]:
        """Apply every rule once."""
        del done
        return Settled(done=[await retention.apply(db, self._rules)])

    def committed(self, done: Sequence[bool]) -> None:
        """Go on at once while a rule may have left rows."""
        if any(done):
            self.waker.wake()
