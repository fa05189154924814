"""Texts stopped and let go again: all of them, those to a country, or those of an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID  # noqa: TC003 - dataclass fields

import phonenumbers

from countersign.operations import journal

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

SCHEMA = "notifier"
# What the notifier tells by: a pause of UK, which is GB there, would hold nothing. 001 are numbers of no country.
COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS) | {"001"}
# The one pause of just that scope; null is a value like any other.
_SCOPE = "country IS NOT DISTINCT FROM $1::text AND account_id IS NOT DISTINCT FROM $2::uuid AND ended_at IS NULL"
OPEN = """
SELECT p.country, p.account_id, p.since, o.who, o.reason
  FROM notifier.pause p LEFT JOIN notifier.operation o ON o.operation_id = p.pause_id
 WHERE p.ended_at IS NULL ORDER BY p.since, p.pause_id
"""
WAITING = """
SELECT count(*) FROM notifier.waiting_text
 WHERE ($1::text IS NULL OR country = $1) AND ($2::uuid IS NULL OR account_id = $2)
"""
IS_OPEN = f"SELECT EXISTS (SELECT FROM notifier.pause WHERE {_SCOPE})"  # noqa: S608 - a constant
BEGIN = "INSERT INTO notifier.pause (pause_id, country, account_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
END = f"UPDATE notifier.pause SET ended_at = now() WHERE {_SCOPE}"  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Scope:
    """Which texts: of a country, of an account, or all. Raises ValueError for both at once and for no country."""

    country: str | None = None
    account_id: UUID | None = None

    def __post_init__(self) -> None:
        """Refuse what no pause can be of."""
        if self.country is not None and self.account_id is not None:
            raise ValueError("a country or an account: give one of them")
        if self.country is not None and self.country not in COUNTRIES:
            raise ValueError(
                "country: expected two capital letters of a country that has numbers (ISO 3166-1), such as SE, GB or "
                "LV; or 001"
            )

    def __str__(self) -> str:
        """Return the scope in words."""
        if self.country is not None:
            return f"texts to {self.country}"
        return "all texts" if self.account_id is None else f"texts of account {self.account_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A pause that holds now, with who began it and why."""

    scope: Scope
    since: datetime
    who: str | None
    reason: str | None


class Texts:
    """What is stopped, on one connection of the role `operator` or of an administrator."""

    def __init__(self, db: asyncpg.Connection) -> None:
        self._db = db

    async def pauses(self) -> list[Pause]:
        """Return the pauses that hold now, the oldest first."""
        return [
            Pause(
                scope=Scope(row["country"], row["account_id"]), since=row["since"], who=row["who"], reason=row["reason"]
            )
            for row in await self._db.fetch(OPEN)
        ]

    async def is_paused(self, scope: Scope) -> bool:
        """Return True if there is a pause of just that scope."""
        return bool(await self._db.fetchval(IS_OPEN, scope.country, scope.account_id))

    async def waiting(self, scope: Scope) -> int:
        """Return how many texts wait or are about to leave: a pause ends those that SNS does not have yet."""
        return int(await self._db.fetchval(WAITING, scope.country, scope.account_id))

    async def pause(self, scope: Scope, by: str, reason: str) -> bool:
        """Stop texts; return False if just these are stopped already. The notifier obeys with the next text."""
        return await self._change("texts pause", scope, by, reason)

    async def resume(self, scope: Scope, by: str, reason: str) -> bool:
        """End a pause; return False if there is none of just that scope. Others hold on."""
        return await self._change("texts resume", scope, by, reason)

    async def _change(self, command: str, scope: Scope, by: str, reason: str) -> bool:
        planned = {"country": scope.country, "account_id": None if scope.account_id is None else str(scope.account_id)}
        operation_id = await journal.begin(self._db, SCHEMA, command, by, reason, planned)
        of_scope: tuple[Any, ...] = (scope.country, scope.account_id)
        async with self._db.transaction():
            if command == "texts pause":  # a pause has the id of the row that says who began it
                told = await self._db.execute(BEGIN, operation_id, *of_scope)
            else:
                told = await self._db.execute(END, *of_scope)
            changed: bool = not told.endswith(" 0")
            await journal.end(self._db, SCHEMA, operation_id, {"changed": changed})
        return changed
