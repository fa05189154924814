"""How far a replay has come, in the service's own schema: written in the transaction of each batch."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.runtime.replay.plan import Plan, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection

# Of one replay at most one process is at work: an advisory lock of its session, so it is free when the process dies.
LOCKS = 0x52504C59  # our class of advisory locks: "RPLY"
LOCK = "SELECT pg_try_advisory_lock($1, hashtext($2))"

FIND = "SELECT plan::text AS plan, rate, state, cause, effects::text AS effects FROM replay WHERE replay_id = $1"
PLACES = "SELECT partition, next_offset, end_offset, records FROM replay_partition WHERE replay_id = $1"

# Whoever pauses or aborts waits for the batch in hand, and the next batch sees it.
HOLD = "SELECT state FROM replay WHERE replay_id = $1 FOR UPDATE"

# The guard: a place counts only from where this process knows it to be.
ADVANCE = """
UPDATE replay_partition r SET next_offset = a.reached, records = r.records + a.records
  FROM unnest($2::int[], $3::bigint[], $4::bigint[], $5::bigint[]) AS a (partition, before, reached, records)
 WHERE r.replay_id = $1 AND r.partition = a.partition AND r.next_offset = a.before
RETURNING r.partition
"""
COUNT = "UPDATE replay SET effects = $2::jsonb, changed_at = now() WHERE replay_id = $1"
END = """
WITH ended AS (
    UPDATE replay SET state = $2, cause = $3, changed_at = now() WHERE replay_id = $1 AND state = 'running'
    RETURNING operation_id)
UPDATE operation o SET ended_at = now(), outcome = $4::jsonb
  FROM ended e WHERE o.operation_id = e.operation_id AND o.ended_at IS NULL
"""


@dataclass(slots=True)
class Journal:
    """A replay as its rows say: per partition the next offset and the end, and what was done so far."""

    replay_id: UUID
    plan: Plan
    rate: float
    state: str
    places: dict[int, tuple[int, int]]
    records: int
    done: Counter[str]
    cause: str | None = None


async def find(db: Connection, replay_id: UUID) -> Journal:
    """Return a replay. Raises PlanError if there is none."""
    row = await db.fetchrow(FIND, replay_id)
    if row is None:
        raise PlanError(f"there is no replay {replay_id} of this service")
    places = await db.fetch(PLACES, replay_id)
    return Journal(
        replay_id,
        Plan.parsed(row["plan"]),
        row["rate"],
        row["state"],
        {place["partition"]: (place["next_offset"], place["end_offset"]) for place in places},
        sum(place["records"] for place in places),
        Counter(json.loads(row["effects"])),
        row["cause"],
    )


async def lock(db: Connection, replay_id: UUID) -> bool:
    """Take the replay for as long as this connection lives; False: another process has it."""
    return bool(await db.fetchval(LOCK, LOCKS, str(replay_id)))


async def is_running(db: Connection, replay_id: UUID) -> bool:
    """Hold the replay for this transaction, and tell whether it is still to go on."""
    return bool(await db.fetchval(HOLD, replay_id) == "running")


async def advance(db: Connection, journal: Journal, reached: Mapping[int, int], records: Mapping[int, int]) -> None:
    """Write how far each partition has come. Raises PlanError if another process has moved one of them."""
    numbers = list(reached)
    before = [journal.places[number][0] for number in numbers]
    counts = [records.get(number, 0) for number in numbers]
    moved = await db.fetch(ADVANCE, journal.replay_id, numbers, before, [reached[one] for one in numbers], counts)
    if len(moved) != len(numbers):
        raise PlanError(
            "the journal is elsewhere than this process knows (a lost answer, or another process): resume it"
        )


async def count(db: Connection, journal: Journal, done: Mapping[str, int]) -> None:
    """Write what was done so far."""
    await db.execute(COUNT, journal.replay_id, json.dumps(done))


async def end(db: Connection, journal: Journal, state: str, cause: str | None) -> None:
    """End or interrupt a running replay, and its operation with it; one that somebody else has ended stays."""
    outcome: dict[str, Any] = {"state": state, "records": journal.records, "effects": dict(journal.done)}
    if cause is not None:
        outcome["cause"] = cause
    await db.execute(END, journal.replay_id, state, cause, json.dumps(outcome))
