"""Due work: challenges whose time is over by the database's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.database import leases
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.waker import Waker
from services.verifier import store_decisions
from services.verifier.model import Denied

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from services.verifier.desk import Desk
    from services.verifier.unsettled import UnsettledTexts

EXPIRED = f"""
UPDATE challenge SET leased_until = now() + {leases.DUE}
 WHERE challenge_id IN (
       SELECT challenge_id FROM challenge
        WHERE closed_at IS NULL AND expires_at <= now() AND leased_until < now()
        ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING challenge_id
"""  # noqa: S608 - a constant of the runtime

NOW = "SELECT clock_timestamp()"


class Expiry:
    """Denies what ran out. The time is the database's: a challenge is never over here and open there."""

    name = "expiry"
    every = 0.5
    parallel = 200
    leases = True
    settles_at_once = False

    def __init__(self, desk: Desk, unsettled: UnsettledTexts) -> None:
        self.waker = Waker()
        self._desk = desk
        self._unsettled = unsettled

    async def take(self, db: Connection, limit: int) -> Sequence[UUID]:
        """Lease open challenges whose time is over; one that somebody works on is left for the next look.

        Measure, every few seconds, how long texts have been issued without an outcome.
        """
        await self._unsettled.look(db)
        return [row["challenge_id"] for row in await db.fetch(EXPIRED, limit)]

    async def act(self, item: UUID) -> UUID:
        """Nothing outside: the end is the transaction."""
        return item

    async def settle(self, db: Connection, done: Sequence[UUID]) -> Settled[Denied]:
        """Close those that are still open, with their decisions."""
        self._desk.signer.refresh()
        now = await db.fetchval(NOW)
        endings = [Denied(asked, "code.expired") for asked in await store_decisions.close(db, done, now)]
        decided = await store_decisions.decide(db, endings, self._desk.signer, now)
        return Settled(decided.events, endings)

    def committed(self, done: Sequence[Denied]) -> None:
        """Tell the ends, and wake whoever waits for one."""
        self._desk.journal.ended(done)
        self._desk.waiters.wake(ending.asked.request_id for ending in done)
