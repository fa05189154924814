"""What has had its time is erased: ended numbers, spent grants, closed requests, some rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.due import Waker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Outgoing

NUMBERS_KEPT_DAYS = 2  # the notice to a replaced number leaves within minutes; texts to it end with its challenges
GRANTS_KEPT_DAYS = 40  # longer than any topic keeps the decision (30 days) that could bring a grant back
_ROWS_MAX = 1_000

ERASE_NUMBERS = """
UPDATE phone_number SET sealed = NULL, fingerprint = NULL
 WHERE number_id IN (
       SELECT number_id FROM phone_number
        WHERE sealed IS NOT NULL AND ended_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING number_id
"""

ERASE_GRANTS = """
DELETE FROM spent_grant
 WHERE request_id IN (
       SELECT request_id FROM spent_grant
        WHERE spent_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

ERASE_REQUESTS = """
DELETE FROM request
 WHERE request_id IN (
       SELECT request_id FROM request
        WHERE closed_at < now() - make_interval(days => $1)
        LIMIT $2 FOR UPDATE SKIP LOCKED)
RETURNING request_id
"""

_ERASED = (
    (ERASE_NUMBERS, NUMBERS_KEPT_DAYS),
    (ERASE_GRANTS, GRANTS_KEPT_DAYS),
    (ERASE_REQUESTS, GRANTS_KEPT_DAYS),
)


class Retention:
    """Erases. Two at it at once skip each other's rows."""

    name = "retention"
    every = 600.0
    parallel = 2  # one more than is ever in flight, so that it pauses after each

    def __init__(self) -> None:
        self.waker = Waker()

    async def take(self, db: Connection, limit: int) -> Sequence[None]:
        """Return the one thing to do."""
        del db, limit
        return [None]

    async def act(self, item: None) -> None:
        """Do nothing outside the database: erasing is settling."""

    async def settle(self, db: Connection, done: Sequence[None]) -> list[Outgoing]:
        """Erase, and look again at once where there is more."""
        del done
        erased = [len(await db.fetch(sql, days, _ROWS_MAX)) for sql, days in _ERASED]
        if _ROWS_MAX in erased:
            self.waker.wake()
        return []
