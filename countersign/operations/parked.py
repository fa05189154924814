"""Outbox rows that Kafka refused for good: listed, published again, discarded. What is in them is never read here."""

# ruff: noqa: S608 - schemas are names of our own services, everything else is a parameter

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from countersign.operations import journal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from typing import Any
    from uuid import UUID

    import asyncpg

_CHOSEN = """
       parked_reason IS NOT NULL AND discarded_at IS NULL
   AND ($1::text IS NULL OR topic = $1) AND ($2::uuid IS NULL OR event_id = $2)
   AND ($3::text IS NULL OR starts_with(parked_reason, $3))
"""
LIST = f"""
SELECT event_id, topic, owed_at, parked_reason FROM {{schema}}.outbox WHERE {_CHOSEN}
 ORDER BY owed_at DESC, event_id LIMIT $4
"""
COUNT = f"SELECT count(*) FROM {{schema}}.outbox WHERE {_CHOSEN}"
# Locked in one order, as the service locks them.
_ROWS = f"SELECT event_id FROM {{schema}}.outbox WHERE {_CHOSEN} ORDER BY event_id FOR UPDATE"
RETRY = f"""
UPDATE {{schema}}.outbox SET parked_reason = NULL, leased_until = now() WHERE event_id = ANY (ARRAY ({_ROWS}))
RETURNING event_id
"""
DISCARD = f"UPDATE {{schema}}.outbox SET discarded_at = now() WHERE event_id = ANY (ARRAY ({_ROWS})) RETURNING event_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedChoice:
    """Which parked rows: every field that is not None must fit. `error` is how the broker's error begins."""

    topic: str | None = None
    event_id: UUID | None = None
    error: str | None = None

    def columns(self) -> tuple[Any, ...]:
        """Return the parameters that every statement here begins with."""
        return (self.topic, self.event_id, self.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedRow:
    """A row without its content; `owed_at` is when the service committed it."""

    service: str
    event_id: UUID
    topic: str
    owed_at: datetime
    parked_reason: str


class ParkedRows:
    """The parked rows of some services, on one connection of the role `operator` or of an administrator."""

    def __init__(self, db: asyncpg.Connection, services: Sequence[str]) -> None:
        self._db = db
        self._services = services

    async def newest(self, choice: ParkedChoice, most: int) -> list[ParkedRow]:
        """Return the newest rows."""
        found = []
        for service in self._services:
            rows = await self._db.fetch(LIST.format(schema=service), *choice.columns(), most)
            found += [ParkedRow(service=service, **dict(row)) for row in rows]
        return sorted(found, key=lambda row: row.owed_at, reverse=True)[:most]


class OutboxDesk:
    """Changes parked rows of one service; each change is kept with who did it and why."""

    def __init__(self, db: asyncpg.Connection, service: str, by: str, reason: str) -> None:
        self._db = db
        self._service = service
        self._by = by
        self._reason = reason

    async def count(self, choice: ParkedChoice) -> int:
        """Return how many rows would be changed."""
        return int(await self._db.fetchval(COUNT.format(schema=self._service), *choice.columns()))

    async def retry(self, choice: ParkedChoice) -> int:
        """Let the service publish rows again; return how many. It does so within seconds, and may park them again."""
        return await self._change("outbox retry", RETRY, choice)

    async def discard(self, choice: ParkedChoice) -> int:
        """Settle rows as discarded: nobody ever publishes them. Return how many. They stay for 40 days."""
        return await self._change("outbox discard", DISCARD, choice)

    async def _change(self, command: str, statement: str, choice: ParkedChoice) -> int:
        planned = {name: str(value) for name, value in asdict(choice).items() if value is not None}
        operation_id = await journal.begin(self._db, self._service, command, self._by, self._reason, planned)
        async with self._db.transaction():
            rows = await self._db.fetch(statement.format(schema=self._service), *choice.columns())
            changed = sorted(str(row["event_id"]) for row in rows)
            await journal.end(self._db, self._service, operation_id, {"rows": len(rows), "event_ids": changed[:100]})
        return len(rows)
