"""A second fold of the simulator's service: nobody waits for its events, so they may lie a while before it reads them.

It differs from the first in what a fold may choose: it saves in one statement without a transaction, and its events
share no state, so a batch is one round.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from countersign.runtime.folding.effect import Effect
from countersign.runtime.publishing import outbox
from tests.sim.tables.runtime_statements import keep_owed
from tests.sim.tables.statements import Answer, performs
from tests.sim.world.events import NOTED, QUIET, owed_row

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import datetime

    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from tests.sim.tables.rows import Transaction
    from tests.sim.tables.server import Server
    from tests.sim.world.events import Asked, Troubles

TABLES = "CREATE TABLE noted (id uuid PRIMARY KEY, account text NOT NULL);"
LOAD = "SELECT now() AS now, coalesce((SELECT array_agg(id) FROM noted WHERE id = ANY($1::uuid[])), '{}') AS known"
SAVE = f"""
WITH new AS (
    INSERT INTO noted SELECT * FROM unnest($1::uuid[], $2::text[]) ORDER BY 1 ON CONFLICT DO NOTHING RETURNING id
), {outbox.owed("new", "id", 2)}
SELECT id FROM new
"""


def noted_id(event_id: int) -> UUID:
    """Return the key of the row that is kept for an event."""
    return UUID(int=event_id)


class Noting:
    """Notes each event once, in one statement."""

    topic = QUIET
    dedupes_by_key = True
    stale_after = None
    delay_ms_max = 200

    def __init__(self, troubles: Troubles) -> None:
        self._troubles = troubles

    def parse(self, record: Record) -> Incoming[Asked] | None:
        return self._troubles.parsed(record)

    def keys(self, incoming: Incoming[Asked]) -> tuple[Hashable, ...]:
        self._troubles.in_keys(incoming.event)
        return (incoming.event.id,)

    def saves_at_once(self, events: Sequence[Incoming[Asked]]) -> bool:
        del events
        return True

    async def load(self, db: Any, events: Sequence[Incoming[Asked]]) -> tuple[set[UUID], datetime]:
        row = await db.fetchrow(LOAD, [noted_id(incoming.event.id) for incoming in events])
        return set(row["known"]), row["now"]

    def decide(self, incoming: Incoming[Asked], state: set[UUID], now: datetime) -> Asked | None:
        del now
        event = incoming.event
        self._troubles.in_decide(event)
        return None if noted_id(event.id) in state else event

    async def save(self, db: Any, outcomes: Sequence[Asked], now: datetime) -> Kept:
        del now
        self._troubles.in_save(outcomes)
        due = {noted_id(event.id): owed_row(NOTED, event.id, event.account) for event in outcomes}
        accounts = [event.account for event in outcomes]
        rows = await db.fetch(SAVE, list(due), accounts, *outbox.owed_columns(due))
        return outbox.kept(due, {row["id"] for row in rows})

    def effect(self, outcome: Asked) -> Effect:
        del outcome
        return Effect("noted")

    def committed(self, outcomes: Sequence[Asked]) -> None:
        del outcomes


@performs("noting.load", LOAD)
def _load(server: Server, by: Transaction, ids: Sequence[UUID]) -> Answer:
    table = server.table("noted")
    return Answer([{"now": by.now, "known": [one for one in ids if table.get(by, one) is not None]}])


@performs("noting.save", SAVE)
def _save(server: Server, by: Transaction, ids: Sequence[UUID], accounts: Sequence[str], *owed: Any) -> Answer:
    table = server.table("noted")
    new = [
        row_id
        for row_id, account in sorted(zip(ids, accounts, strict=True))
        if table.insert(by, row_id, {"id": row_id, "account": account})
    ]
    keep_owed(server, by, set(new), *owed)
    by.after_commit.append(partial(server.events_folded, QUIET, [row_id.int for row_id in new]))
    return Answer([{"id": row_id} for row_id in new])
