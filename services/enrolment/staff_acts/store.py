"""What the acts of account managers read and change. The caller holds the locks of both accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.enrolment.staff_acts.decide import ACTS_COUNTED_FOR, ACTS_HOURLY_MAX, RESET_LASTS, SECOND_WITHIN

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection, Pool
    from services.enrolment.staff_acts.model import Act, ActOutcome

HELD = """
SELECT coalesce(greatest(a.exports_held_until,
                         (SELECT max(m.exports_held_until) FROM member m WHERE m.account_id = $1)) > $2, false)
  FROM account a WHERE a.account_id = $1
"""

# Until when: the oldest of the acts that count.
ACTED_LATELY = """
SELECT count(*) AS acts, min(at) + $3::interval - $2::timestamptz AS wait
  FROM manager_act WHERE manager_id = $1 AND at > $2::timestamptz - $3::interval
"""

RECORDED = """
SELECT request_id FROM manager_act
 WHERE user_id = $1 AND manager_id <> $2 AND ticket = $3 AND anywhere = $4 AND kind = 'number.reset'
   AND outcome = 'recorded' AND at > $5::timestamptz - $6::interval
 ORDER BY at
"""

KEEP = """
INSERT INTO manager_act (request_id, kind, manager_id, account_id, user_id, anywhere, reason, ticket, outcome, at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
"""
CARRIED_OUT = "UPDATE manager_act SET outcome = 'carried_out' WHERE request_id = ANY($1::uuid[])"
OUTCOME = "SELECT outcome FROM manager_act WHERE request_id = $1"

# Whoever had it turned off may not carry the contacts away at once; a longer hold stays.
TURN_OFF = """
UPDATE account SET two_factor = false, switched_at = $2::timestamptz,
       exports_held_until = greatest(exports_held_until, $2::timestamptz + $3::interval)
 WHERE account_id = $1
"""

RELEASE_ACCOUNT = "UPDATE account SET exports_held_until = NULL WHERE account_id = $1"
RELEASE_MEMBERS = """
UPDATE member SET exports_held_until = NULL WHERE account_id = $1 AND exports_held_until IS NOT NULL
"""

END_NUMBERS = """
UPDATE phone_number SET state = 'reset', ended_at = $2
 WHERE user_id = $1 AND state IN ('provided', 'confirmed')
RETURNING number_id, confirmed_at
"""
OPEN_RESET = """
INSERT INTO number_reset (user_id, at, until, anywhere)
VALUES ($1, $2::timestamptz, $2::timestamptz + $3::interval, $4)
    ON CONFLICT (user_id) DO UPDATE SET at = excluded.at, until = excluded.until, anywhere = excluded.anywhere
"""

UNLOCK = "UPDATE member SET unlocked_at = $2 WHERE user_id = $1"

ACTS = """
SELECT at, request_id, manager_id, kind, account_id, user_id, anywhere, reason, ticket, outcome
  FROM manager_act WHERE $1::uuid IS NULL OR manager_id = $1
 ORDER BY at DESC, request_id LIMIT $2
"""


async def is_held(db: Connection, account_id: UUID, now: datetime) -> bool:
    """Return True if exports of the account, or of anybody in it, are held."""
    return bool(await db.fetchval(HELD, account_id, now))


async def wait_of(db: Connection, manager_id: UUID, now: datetime) -> timedelta | None:
    """Return how long a manager who has used up the acts of an hour has to wait; None: not at all."""
    row = await db.fetchrow(ACTED_LATELY, manager_id, now, ACTS_COUNTED_FOR)
    return row["wait"] if row is not None and row["acts"] >= ACTS_HOURLY_MAX else None


async def recorded(db: Connection, act: Act) -> list[UUID]:
    """Return the acts of other managers that this one carries out: the same reset, the same ticket, not long ago."""
    rows = await db.fetch(RECORDED, act.user_id, act.manager_id, act.ticket, act.anywhere, act.at, SECOND_WITHIN)
    return [row["request_id"] for row in rows]


async def keep(db: Connection, act: Act, outcome: ActOutcome) -> None:
    """Keep what was done."""
    row = (act.request_id, act.kind, act.manager_id, act.account_id, act.user_id, act.anywhere)
    await db.execute(KEEP, *row, act.reason, act.ticket, outcome, act.at)


async def carried_out(db: Connection, request_ids: list[UUID]) -> None:
    """Note that recorded acts were carried out, so that they let nobody else's through."""
    await db.execute(CARRIED_OUT, request_ids)


async def outcome_of(db: Connection, request_id: UUID) -> str | None:
    """Return what an act came to; None: there was no such act."""
    outcome: str | None = await db.fetchval(OUTCOME, request_id)
    return outcome


async def turn_off(db: Connection, act: Act, hold: timedelta) -> None:
    """Turn two-factor off and hold the account's exports."""
    await db.execute(TURN_OFF, act.account_id, act.at, hold)


async def release(db: Connection, account_id: UUID) -> None:
    """End every hold on the account's exports."""
    await db.execute(RELEASE_ACCOUNT, account_id)
    await db.execute(RELEASE_MEMBERS, account_id)


async def reset(db: Connection, act: Act) -> tuple[UUID | None, UUID | None]:
    """End the user's numbers and let them enter another; return the one in force and the given one, as they were."""
    rows = await db.fetch(END_NUMBERS, act.user_id, act.at)
    await db.execute(OPEN_RESET, act.user_id, act.at, RESET_LASTS, act.anywhere)
    in_force = next((row["number_id"] for row in rows if row["confirmed_at"] is not None), None)
    return in_force, next((row["number_id"] for row in rows if row["confirmed_at"] is None), None)


async def unlock(db: Connection, act: Act) -> None:
    """Let the user's failures of before count no more."""
    await db.execute(UNLOCK, act.user_id, act.at)


async def acts(pool: Pool, manager_id: UUID | None, limit: int) -> list[dict[str, Any]]:
    """Return the latest acts, of one manager or of all."""
    return [dict(row) for row in await pool.fetch(ACTS, manager_id, limit)]
