"""The service of the simulator: it keeps each event once, owes one record for it, and has one thing to do about it.

Its statements have one table each and are written for the in-memory database and for PostgreSQL alike.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from countersign.runtime.due_work.settled import Settled
from countersign.runtime.folding.effect import Effect
from countersign.runtime.publishing.outbox import Kept, append
from countersign.runtime.waker import Waker
from tests.sim.tables.statements import Answer, performs
from tests.sim.world.events import DONE, FOLDED, IN, owed_row

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from datetime import datetime

    from countersign.runtime.messages.record import Incoming, Record
    from tests.sim.tables.rows import Transaction
    from tests.sim.tables.server import Server
    from tests.sim.world.events import Asked, Troubles

DUE_AFTER = timedelta(seconds=1)
LEASE = timedelta(seconds=10)

TABLES = """
CREATE TABLE kept (id int PRIMARY KEY, account text NOT NULL);
CREATE TABLE task (id int PRIMARY KEY, due_at timestamptz NOT NULL, done boolean NOT NULL);
"""
LOAD = "SELECT now() AS now, coalesce((SELECT array_agg(id) FROM kept WHERE id = ANY($1::int[])), '{}') AS known"
SAVE = """
WITH new AS (
    INSERT INTO kept SELECT * FROM unnest($1::int[], $2::text[]) ORDER BY 1 ON CONFLICT DO NOTHING RETURNING id
), planned AS (
    INSERT INTO task SELECT id, now() + $3::interval, false FROM new
)
SELECT id FROM new
"""
TAKE = """
UPDATE task SET due_at = now() + $2::interval
 WHERE id IN (SELECT id FROM task WHERE NOT done AND due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
SETTLE = "UPDATE task SET done = true WHERE id = ANY($1::int[]) AND NOT done RETURNING id"


class Keeping:
    """Keeps each event once, in a transaction. Somebody waits for that."""

    topic = IN
    dedupes_by_key = True
    stale_after = None
    delay_ms_max = 0

    def __init__(self, troubles: Troubles, waker: Waker) -> None:
        self._troubles = troubles
        self._waker = waker

    def parse(self, record: Record) -> Incoming[Asked] | None:
        return self._troubles.parsed(record)

    def keys(self, incoming: Incoming[Asked]) -> tuple[Hashable, ...]:
        self._troubles.in_keys(incoming.event)
        return (incoming.event.id, incoming.event.account)

    def saves_at_once(self, events: Sequence[Incoming[Asked]]) -> bool:
        return len(events) == 1

    async def load(self, db: Any, events: Sequence[Incoming[Asked]]) -> tuple[set[int], datetime]:
        row = await db.fetchrow(LOAD, [incoming.event.id for incoming in events])
        return set(row["known"]), row["now"]

    def decide(self, incoming: Incoming[Asked], state: set[int], now: datetime) -> Asked | None:
        del now
        event = incoming.event
        self._troubles.in_decide(event)
        return None if event.id in state else event

    async def save(self, db: Any, outcomes: Sequence[Asked], now: datetime) -> Kept:
        del now
        self._troubles.in_save(outcomes)
        columns = [event.id for event in outcomes], [event.account for event in outcomes]
        if db.is_in_transaction():
            return await self._saved(db, outcomes, columns)
        async with db.transaction():
            return await self._saved(db, outcomes, columns)

    async def _saved(self, db: Any, outcomes: Sequence[Asked], columns: tuple[list[int], list[str]]) -> Kept:
        new = {row["id"] for row in await db.fetch(SAVE, *columns, DUE_AFTER)}
        return await append(db, [owed_row(FOLDED, event.id, event.account) for event in outcomes if event.id in new])

    def effect(self, outcome: Asked) -> Effect:
        del outcome
        return Effect("kept")

    def committed(self, outcomes: Sequence[Asked]) -> None:
        del outcomes
        self._waker.wake()


class Doing:
    """What is due a second after an event: an act outside of any transaction, and a record that says so."""

    name = "task"
    every = 3.0
    parallel = 3
    leases = True
    settles_at_once = False

    def __init__(self, told: Callable[[int], None], seconds: float) -> None:
        self.waker = Waker()
        self._told = told
        self._seconds = seconds

    async def take(self, db: Any, limit: int) -> Sequence[int]:
        return [row["id"] for row in await db.fetch(TAKE, limit, LEASE)]

    async def act(self, item: int) -> int:
        await asyncio.sleep(self._seconds)
        return item

    async def settle(self, db: Any, done: Sequence[int]) -> Settled[int]:
        ended = [row["id"] for row in await db.fetch(SETTLE, done)]
        return Settled(await append(db, [owed_row(DONE, item, str(item)) for item in ended]), ended)

    def committed(self, done: Sequence[int]) -> None:
        """Say what has come to its end: the transaction is committed."""
        for item in done:
            self._told(item)


@performs("sim.load", LOAD)
def _load(server: Server, by: Transaction, ids: Sequence[int]) -> Answer:
    table = server.table("kept")
    return Answer([{"now": by.now, "known": [one for one in ids if table.get(by, one) is not None]}])


@performs("sim.save", SAVE)
def _save(server: Server, by: Transaction, ids: Sequence[int], accounts: Sequence[str], due_after: timedelta) -> Answer:
    kept, task = server.table("kept"), server.table("task")
    new = [
        event_id
        for event_id, account in sorted(zip(ids, accounts, strict=True))
        if kept.insert(by, event_id, {"id": event_id, "account": account})
    ]
    for event_id in new:
        task.insert(by, event_id, {"id": event_id, "due_at": by.now + due_after, "done": False})
    by.after_commit.append(partial(server.events_folded, IN, new))
    return Answer([{"id": event_id} for event_id in new])


@performs("sim.take", TAKE)
def _take(server: Server, by: Transaction, limit: int, lease: timedelta) -> Answer:
    table = server.table("task")
    due = [
        (value["due_at"], row)
        for row, value in table.all(by)
        if not value["done"] and value["due_at"] <= by.now and not table.is_locked(by, row)
    ]
    due.sort(key=lambda pair: pair[0])
    return Answer([table.change(by, row, due_at=by.now + lease) for _, row in due[:limit]])


@performs("sim.settle", SETTLE)
def _settle(server: Server, by: Transaction, ids: Sequence[int]) -> Answer:
    table = server.table("task")
    rows = [table.rows[one] for one in ids if (table.get(by, one) or {"done": True})["done"] is False]
    return Answer([table.change(by, row, done=True) for row in rows])
