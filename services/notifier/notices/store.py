"""The SQL of notices: a fixed number of statements a batch, and the predicate of each is its guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.notifier.model import SealedNumber, State
from services.notifier.notices.model import Candidate, Delay, Kind, Pace, Reader, Send, Withhold

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from services.notifier.notices.model import Happening, Settlement, Step

_LOOKED_AT_MAX = 200  # a helping: those that end without a text use up none of the rate
_LOCKS = 0x4E4F5445  # our class of advisory locks: "NOTE"

NOW = "SELECT now()"

# One row an event and number: of an event that is read again nothing is new, whoever reads it. The number that is
# meant; or the one that the challenge's code went to, as we know ourselves; or that of each member. In one order, so
# that two owners of a partition in transition cannot deadlock.
KEEP = """
INSERT INTO notice (event_id, number_id, kind, account_id, user_id, ip, void_at)
SELECT e.event_id, t.number_id, e.kind, e.account_id, t.user_id, t.ip, e.void_at
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[], $5::uuid[], $6::uuid[], $7::uuid[], $8::boolean[])
    AS e (event_id, kind, account_id, void_at, user_id, number_id, challenge_id, concerns_all)
 CROSS JOIN LATERAL (
       SELECT s.number_id, s.user_id, NULL AS ip
         FROM enrolment.sealed_number s
        WHERE NOT e.concerns_all AND e.challenge_id IS NULL
          AND s.number_id = e.number_id AND s.user_id = e.user_id AND s.account_id = e.account_id
        UNION ALL
      (SELECT d.number_id, d.user_id, d.ip
         FROM dispatch d
        WHERE NOT e.concerns_all AND d.challenge_id = e.challenge_id
          AND d.number_id = e.number_id AND d.user_id = e.user_id AND d.account_id = e.account_id
        ORDER BY d.send DESC LIMIT 1)
        UNION ALL
      (SELECT DISTINCT ON (s.user_id) s.number_id, s.user_id, NULL
         FROM enrolment.sealed_number s
        WHERE e.concerns_all AND s.account_id = e.account_id
          AND s.role IS NOT NULL AND s.state IN ('confirmed', 'provided')
        ORDER BY s.user_id, s.state)) AS t
 ORDER BY e.event_id, t.number_id
    ON CONFLICT DO NOTHING
"""

# One process at a time claims notices, so that their rate and the limit of a number hold across all of them.
LOCK = "SELECT pg_advisory_xact_lock($1, 0)"

# Asked only once the lock is held: an earlier statement would not see what the last holder committed. A code that is
# due for longer than a look takes waits for a sender or a provider: it goes first.
PACE = """
SELECT clock_timestamp() AS now,
       (SELECT count(*) FROM notice WHERE claimed_at > clock_timestamp() - interval '1 second') AS claimed,
       EXISTS (SELECT FROM dispatch
                WHERE state = 'due' AND due_at < clock_timestamp() - interval '2 seconds') AS codes_wait
"""

# Without room ($2 false) only those that are void by now are looked at, to end them.
DUE = """
SELECT n.event_id, n.number_id, n.kind, n.account_id, n.user_id, n.void_at, n.claims, n.ip, n.reason,
       s.user_id AS number_user_id, s.sealed, s.key_id, s.fingerprint, s.country, s.locale, s.role
  FROM notice n
  LEFT JOIN enrolment.sealed_number s ON s.number_id = n.number_id
 WHERE n.state = 'due' AND n.due_at <= clock_timestamp() AND ($2 OR n.void_at <= clock_timestamp())
 ORDER BY n.due_at, n.event_id, n.number_id
 LIMIT $1
   FOR UPDATE OF n SKIP LOCKED
"""

LEFT = """
SELECT number_fingerprint, count(*) AS notices
  FROM notice
 WHERE number_fingerprint = ANY($1::bytea[]) AND counted_at > clock_timestamp() - interval '1 day'
 GROUP BY number_fingerprint
"""

# One that may leave is claimed and counted; a delayed one waits; one that never will has its end.
MARK = """
UPDATE notice n
   SET state = s.state,
       reason = coalesce(s.reason, n.reason),
       due_at = coalesce(s.until, n.due_at),
       claims = n.claims + (s.state = 'claimed')::integer,
       claimed_at = CASE WHEN s.state = 'claimed' THEN $7 ELSE n.claimed_at END,
       counted_at = CASE WHEN s.state = 'claimed' THEN $7 END,
       settled_at = CASE WHEN s.state NOT IN ('due', 'claimed') THEN $7 END,
       number_fingerprint = s.fingerprint,
       country = s.country
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[], $8::timestamptz[])
    AS s (event_id, number_id, state, reason, fingerprint, country, until)
 WHERE n.event_id = s.event_id AND n.number_id = s.number_id
RETURNING n.event_id, n.number_id, n.kind, n.account_id, n.user_id, n.state, n.country, n.reason
"""

# Locked in one order, as are those that nobody settled; the first of them counts. What may have left stays counted.
SETTLE = """
WITH held AS (
    SELECT n.event_id, n.number_id, s.state, s.reason, s.segments, s.message_id, s.pause
      FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::smallint[], $7::text[],
                  $8::float8[])
        AS s (event_id, number_id, claims, state, reason, segments, message_id, pause)
      JOIN notice n USING (event_id, number_id)
     WHERE n.state = 'claimed' AND n.claims = s.claims
     ORDER BY n.event_id, n.number_id
       FOR UPDATE OF n)
UPDATE notice n
   SET state = h.state,
       reason = h.reason,
       segments = h.segments,
       provider_message_id = h.message_id,
       due_at = CASE WHEN h.state = 'due' THEN now() + make_interval(secs => h.pause) ELSE n.due_at END,
       counted_at = CASE WHEN h.state <> 'due' THEN n.counted_at END,
       settled_at = CASE WHEN h.state <> 'due' THEN now() END
  FROM held h
 WHERE n.event_id = h.event_id AND n.number_id = h.number_id
RETURNING n.event_id, n.number_id, n.kind, n.account_id, n.user_id, n.state, n.country, n.reason
"""

# Their process died, or hangs: they may have left, so they never leave again.
DOUBT = """
WITH held AS (
    SELECT event_id, number_id FROM notice
     WHERE state = 'claimed' AND claimed_at < clock_timestamp() - $1::interval
     ORDER BY event_id, number_id
       FOR UPDATE SKIP LOCKED)
UPDATE notice n
   SET state = 'unknown', reason = 'unsettled', segments = 1, settled_at = now()
  FROM held h
 WHERE n.event_id = h.event_id AND n.number_id = h.number_id
RETURNING n.event_id, n.number_id, n.kind, n.account_id, n.user_id, n.state, n.country, n.reason
"""


# In small bites, so that it never holds up a claim.
async def now(db: Connection) -> datetime:
    """Return the database's now."""
    found: datetime = await db.fetchval(NOW)
    return found


async def keep(db: Connection, happenings: Sequence[Happening]) -> None:
    """Keep what is to be told, to each who is to be told, unless it was kept before."""
    await db.execute(
        KEEP,
        [one.event_id for one in happenings],
        [one.kind for one in happenings],
        [one.account_id for one in happenings],
        [one.void_at for one in happenings],
        [one.user_id for one in happenings],
        [one.number_id for one in happenings],
        [one.challenge_id for one in happenings],
        [one.concerns_all for one in happenings],
    )


async def take_turn(db: Connection) -> Pace:
    """Keep other processes from claiming notices until the transaction ends, and return how fast they leave."""
    await db.execute(LOCK, _LOCKS)
    row = await db.fetchrow(PACE)
    assert row is not None
    return Pace(row["now"], row["claimed"], row["codes_wait"])


async def due(db: Connection, *, sending: bool) -> list[Candidate]:
    """Lock notices that are due, with their numbers, still sealed."""
    return [_candidate(row) for row in await db.fetch(DUE, _LOOKED_AT_MAX, sending)]


def _candidate(row: asyncpg.Record) -> Candidate:
    number = None
    if row["sealed"] is not None:
        number = SealedNumber(
            row["number_user_id"], row["sealed"], row["key_id"], row["fingerprint"], row["country"], account_members=0
        )
    return Candidate(
        (row["event_id"], row["number_id"]),
        Kind(row["kind"]),
        row["user_id"],
        row["void_at"],
        row["claims"],
        number,
        Reader(row["locale"], row["role"]),
        row["account_id"],
        row["ip"],
        row["reason"],
    )


async def left_today(db: Connection, candidates: Sequence[Candidate]) -> Mapping[bytes, int]:
    """Return how many notices left within a day to the numbers of these, by their fingerprints."""
    fingerprints = list({one.number.fingerprint for one in candidates if one.number is not None})
    rows = await db.fetch(LEFT, fingerprints)
    return {row["number_fingerprint"]: row["notices"] for row in rows}


async def mark(db: Connection, steps: Sequence[Step], now: datetime) -> list[asyncpg.Record]:
    """Store what was decided about notices that are due; return those that have come to their end."""
    numbers = [step.number if isinstance(step, Send) else step.candidate.number for step in steps]
    rows = await db.fetch(
        MARK,
        [step.candidate.key[0] for step in steps],
        [step.candidate.key[1] for step in steps],
        [_state_after(step) for step in steps],
        [None if isinstance(step, Send) else step.reason for step in steps],
        [number.fingerprint if number else None for number in numbers],
        [number.country if number else None for number in numbers],
        now,
        [step.until if isinstance(step, Delay) else None for step in steps],
    )
    return [row for row in rows if is_end(row)]


def _state_after(step: Step) -> State:
    match step:
        case Send():
            return State.CLAIMED
        case Delay():
            return State.DUE
        case Withhold():
            return step.state


async def settle(db: Connection, settlements: Sequence[Settlement]) -> list[asyncpg.Record]:
    """Settle those that are still as they were claimed; return them as they are now."""
    rows: list[asyncpg.Record] = await db.fetch(
        SETTLE,
        [one.key[0] for one in settlements],
        [one.key[1] for one in settlements],
        [one.claims for one in settlements],
        [one.state for one in settlements],
        [one.reason for one in settlements],
        [one.segments for one in settlements],
        [one.message_id for one in settlements],
        [one.pause_seconds for one in settlements],
    )
    return rows


async def doubt(db: Connection, settled_within: timedelta) -> list[asyncpg.Record]:
    """End the claims that nobody settled in time; return them."""
    rows: list[asyncpg.Record] = await db.fetch(DOUBT, settled_within)
    return rows


def is_end(row: asyncpg.Record) -> bool:
    """Tell whether a notice has come to its end, or is due or claimed."""
    return State(row["state"]) not in {State.DUE, State.CLAIMED}
