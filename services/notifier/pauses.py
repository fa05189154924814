"""What people on call have stopped, asked again for each text that is about to leave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from countersign.runtime.errors import Kind, kind_of
from services.notifier.decide import PAUSED
from services.notifier.model import Answer, Pauses, Receipt

if TYPE_CHECKING:
    from uuid import UUID

    import structlog

    from countersign.runtime.postgres import Connection, Pool

OPEN = "SELECT country, account_id FROM pause WHERE ended_at IS NULL"
_SECONDS_MAX = 2.0  # chosen: a claim is good for a little longer
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
    """Asks the database for one text, just before it leaves: it may have been stopped since it was claimed."""

    def __init__(self, pool: Pool, log: structlog.typing.FilteringBoundLogger) -> None:
        self._pool = pool
        self._log = log

    async def held(self, account_id: UUID, country: str) -> Receipt | None:
        """Return why the text may not leave; None: it may. Where the database does not say, it may not."""
        try:
            async with asyncio.timeout(_SECONDS_MAX), self._pool.acquire() as db:
                found = await pauses(db)
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            self._log.warning("pauses_unknown", error=type(error).__name__)
            return Receipt(Answer.NOT_SENT, UNKNOWN)
        return Receipt(Answer.NOT_SENT, PAUSED) if found.cover(account_id, country) else None
