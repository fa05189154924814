"""What people on call have stopped, asked again before a text leaves."""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from countersign.runtime.errors import Kind, kind_of
from services.notifier.decide import PAUSED
from services.notifier.model import Answer, Pauses, Receipt

if TYPE_CHECKING:
    from uuid import UUID

    import structlog

    from countersign.runtime.database.postgres import Connection, Pool

OPEN = "SELECT country, account_id FROM pause WHERE ended_at IS NULL"
_SECONDS_MAX = 2.0  # chosen: a claim is good for a little longer
FRESH_SECONDS = 0.25  # chosen: "at once" for a person, and four queries a second however many texts leave
UNKNOWN = "pause.unknown"


async def pauses(db: Connection) -> Pauses:
    """Return what is stopped now."""
    rows = await db.fetch(OPEN)
    return Pauses(
        everything=any(row["country"] is None and row["account_id"] is None for row in rows),
        countries=frozenset(row["country"] for row in rows if row["country"] is not None),
        accounts=frozenset(row["account_id"] for row in rows if row["account_id"] is not None),
    )


class PauseCheck:
    """Says of one text, just before it leaves, whether it was stopped since it was claimed.

    All texts that are about to leave share one look at the database. It counts for whoever asked while it was being
    made, or within FRESH_SECONDS of its beginning: so a slow database is not asked once for each text.
    """

    def __init__(self, pool: Pool, log: structlog.typing.FilteringBoundLogger) -> None:
        self._pool = pool
        self._log = log
        self._looking = asyncio.Lock()
        self._last = _Look(-inf, None)

    async def held(self, account_id: UUID, country: str) -> Receipt | None:
        """Return why the text may not leave; None: it may. Where the database does not say, it may not."""
        oldest = monotonic() - FRESH_SECONDS
        if self._last.began < oldest:
            async with self._looking:
                if self._last.began < oldest:  # else others looked while this one waited
                    self._last = await self._look()
        found = self._last.pauses
        if found is None:
            return Receipt(Answer.NOT_SENT, UNKNOWN)
        return Receipt(Answer.NOT_SENT, PAUSED) if found.cover(account_id, country) else None

    async def _look(self) -> _Look:
        began = monotonic()
        try:
            async with asyncio.timeout(_SECONDS_MAX), self._pool.acquire() as db:
                return _Look(began, await pauses(db))
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            self._log.warning("pauses_unknown", error=type(error).__name__)
            return _Look(began, None)


class _Look(NamedTuple):
    """What a look found, and when it began, in monotonic seconds; `pauses` None: the database did not say."""

    began: float
    pauses: Pauses | None
