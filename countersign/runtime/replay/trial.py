"""A batch folded in a transaction that its caller ends, and what it did there: told by the database, not by the fold.

PostgreSQL counts the rows that a transaction has inserted, updated and deleted. A batch after which nothing was counted
had no effect. Else it is folded again record by record, so that each effect belongs to one record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import absorb, rounds
from countersign.runtime.replay.plan import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.fold import AnyFold, Folded
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept

# What this backend has counted and not yet handed on is in there as well: only differences within a transaction count.
CHANGED = """
SELECT c.relname AS name,
       pg_stat_get_xact_tuples_inserted(c.oid) + pg_stat_get_xact_tuples_updated(c.oid)
         + pg_stat_get_xact_tuples_deleted(c.oid) AS rows
  FROM pg_class c
 WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
"""
COUNTS = "SELECT current_setting('track_counts')::boolean"
KNOWN = """
SELECT partition, "offset", appended_at FROM dead_letter
  JOIN unnest($2::int[], $3::bigint[], $4::timestamptz[]) AS d (partition, "offset", appended_at)
 USING (partition, "offset", appended_at)
 WHERE topic = $1
"""
UNNAMED = Effect("rows changed without an outcome")


@dataclass(slots=True)
class Trial:
    """What a batch came to. `dead` could not be folded; nothing of them is kept. `forbidden` says where it was met."""

    without_effect: int = 0
    aged: int = 0
    effects: Counter[str] = field(default_factory=Counter)
    forbidden: list[tuple[Effect, Record]] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    publishes: Counter[str] = field(default_factory=Counter)
    dead: list[DeadLetter] = field(default_factory=list)


async def require_counts(db: Connection) -> None:
    """Raise PlanError if the server does not count rows: nothing could be said of effects then."""
    if not await db.fetchval(COUNTS):
        raise PlanError("PostgreSQL's track_counts is off: a replay cannot see its own effects; turn it on")


async def try_batch(db: Connection, fold: AnyFold, batch: Sequence[Incoming[Any]]) -> Trial:
    """Fold a batch in the caller's transaction and return what it did. Raises infrastructure errors only."""
    whole = await _attempt(db, _Watched(fold), rounds(fold, batch))
    if whole is not None and not whole.changes and not whole.publishes:
        whole.without_effect = len(batch) - whole.aged - len(whole.dead)
        return whole
    found = Trial()
    for incoming in batch:
        await _alone(db, fold, incoming, found)
    return found


async def unknown_of(db: Connection, topic: str, dead: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Return those that no dead letter is kept of."""
    if not dead:
        return []
    places = [(letter.record.partition, letter.record.offset, letter.record.appended_at) for letter in dead]
    rows = await db.fetch(KNOWN, topic, *(list(column) for column in zip(*places, strict=True)))
    known = {(row["partition"], row["offset"], row["appended_at"]) for row in rows}
    return [letter for letter, place in zip(dead, places, strict=True) if place not in known]


async def _alone(db: Connection, fold: AnyFold, incoming: Incoming[Any], found: Trial) -> None:
    watched = _Watched(fold)
    one = await _attempt(db, watched, [[incoming]], keep=True)
    if one is None:
        found.dead.append(DeadLetter(incoming.record, "bug", f"a bug of ours: {watched.error}"))
        return
    found.dead += one.dead
    found.aged += one.aged
    found.changes += one.changes
    found.publishes += one.publishes
    if not one.changes and not one.publishes:
        found.without_effect += 1 - one.aged - len(one.dead)
        return
    for effect in [fold.effect(outcome) for outcome in watched.outcomes] or [UNNAMED]:
        if effect.forbidden:
            found.forbidden.append((effect, incoming.record))
        else:
            found.effects[effect.name] += 1


async def _attempt(
    db: Connection, watched: _Watched, parts: Sequence[Sequence[Incoming[Any]]], *, keep: bool = False
) -> Trial | None:
    """Fold in a savepoint, and leave it only if nothing changed, or with `keep`; None: it raised."""
    found = Trial()

    async def note(_db: Connection, folded: Folded[Any]) -> None:
        found.dead.extend(folded.dead)

    before = await _changed(db)
    savepoint = db.transaction()
    await savepoint.start()
    try:
        for part in parts:
            folded = await absorb(db, watched, part, also=note)
            found.aged += folded.aged
            found.publishes += published(folded.due)
            found.dead += [
                DeadLetter(incoming.record, "bug", f"a bug of ours: {type(error).__name__}")
                for incoming, error in folded.suspects
            ]
    except BaseException as error:
        if not isinstance(error, Exception) or kind_of(error) is Kind.INFRASTRUCTURE:
            raise  # the caller's transaction is lost, and the savepoint with it
        await savepoint.rollback()
        watched.error = type(error).__name__
        return None
    found.changes = await _changed(db) - before
    if keep or not (found.changes or found.publishes):
        await savepoint.commit()
    else:
        await savepoint.rollback()
    return found


async def _changed(db: Connection) -> Counter[str]:
    return Counter({row["name"]: row["rows"] for row in await db.fetch(CHANGED)})


def published(due: Kept) -> Counter[str]:
    """Return events that a transaction owes to Kafka, by type."""
    return Counter(next((value.decode() for name, value in row.headers if name == "ce_type"), row.topic) for row in due)


class _Watched:
    """A fold that wakes nobody, and whose outcomes can be looked at."""

    def __init__(self, fold: AnyFold) -> None:
        self._fold = fold
        self.outcomes: list[Any] = []
        self.error = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)

    async def save(self, db: Connection, outcomes: Sequence[Any], now: Any) -> Kept:
        """Save, and remember what was saved."""
        self.outcomes.extend(outcomes)
        return await self._fold.save(db, outcomes, now)

    def committed(self, outcomes: Sequence[Any]) -> None:
        """Tell nobody."""
