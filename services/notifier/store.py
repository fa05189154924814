"""The notifier's SQL: a fixed number of statements a batch, and the predicate of each is its guard."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from countersign.runtime.database import leases
from services.notifier.decide import ordinary_of, reserve_of
from services.notifier.model import Candidate, Delay, Known, Recent, SealedNumber, Send, SentTimes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg

    from countersign.policy import TextLimits
    from countersign.runtime.database.postgres import Connection
    from services.notifier.model import Dispatch, Step, TextKey

_LOCKS = 0x534D53  # our class of advisory locks: "SMS"

KNOWN = """
SELECT now() AS now, d.challenge_id, d.send, d.fingerprint
  FROM unnest($1::uuid[], $2::smallint[]) AS k (challenge_id, send)
  LEFT JOIN dispatch d USING (challenge_id, send)
"""

# Of a text seen before only the first challenge counts. In one order, so that two owners of a partition in transition
# cannot deadlock.
INSERT = """
INSERT INTO dispatch (challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at, traceparent, state,
                      event, reserved, ip, due_at, reason, retry_at, settled_at)
SELECT challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at, traceparent,
       CASE WHEN late THEN 'suppressed' ELSE 'due' END,
       CASE WHEN NOT late THEN event END,
       reserved, ip,
       CASE WHEN NOT late THEN now() END,
       CASE WHEN late THEN $13 END,
       CASE WHEN late THEN expires_at END,
       CASE WHEN late THEN now() END
  FROM unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::uuid[], $5::uuid[], $6::uuid[], $7::timestamptz[],
              $8::bytea[], $9::text[], $10::boolean[], $11::boolean[], $12::text[])
    AS d (challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at, event, traceparent, late,
          reserved, ip)
 ORDER BY challenge_id, send
    ON CONFLICT DO NOTHING
RETURNING challenge_id, send
"""

# While the provider takes nothing ($2 false) only texts whose challenge is nearly over are looked at, to end them.
DUE = """
SELECT d.challenge_id, d.send, d.account_id, d.user_id, d.number_id, d.expires_at, d.claims, d.reason, d.reserved,
       d.event, d.traceparent,
       n.user_id AS number_user_id, n.sealed, n.key_id, n.fingerprint, n.country, n.account_members
  FROM dispatch d
  LEFT JOIN enrolment.sealed_number n ON n.number_id = d.number_id
 WHERE d.state = 'due' AND d.due_at <= now() AND ($2 OR d.expires_at < now() + interval '5 seconds')
 ORDER BY d.due_at, d.challenge_id, d.send
 LIMIT $1
   FOR UPDATE OF d SKIP LOCKED
"""

# One claim at a time judges a number and an account, whichever process it is in: the locks are taken in the order of
# their keys and held until the commit. Two keys that share a lock only wait for each other.
LOCK = "SELECT pg_advisory_xact_lock($1, key) FROM unnest($2::integer[]) AS key"

# Asked only once the locks are held: an earlier statement would not see what the last holder committed, and its clock
# would show the time before the wait.
RECENT = """
SELECT clock_timestamp() AS now, k.fingerprint, k.account_id,
       array(SELECT d.counted_at FROM dispatch d
              WHERE d.number_fingerprint = k.fingerprint AND d.counted_at > now() - interval '1 day'
                AND NOT d.from_reserve
              ORDER BY d.counted_at DESC LIMIT $3) AS number_ordinary,
       array(SELECT d.counted_at FROM dispatch d
              WHERE d.number_fingerprint = k.fingerprint AND d.counted_at > now() - interval '1 day'
                AND d.from_reserve
              ORDER BY d.counted_at DESC LIMIT $4) AS number_reserve,
       array(SELECT d.counted_at FROM dispatch d
              WHERE d.account_id = k.account_id AND d.counted_at > now() - interval '1 hour'
                AND NOT d.from_reserve
              ORDER BY d.counted_at DESC LIMIT $5) AS account_ordinary,
       array(SELECT d.counted_at FROM dispatch d
              WHERE d.account_id = k.account_id AND d.counted_at > now() - interval '1 hour'
                AND d.from_reserve
              ORDER BY d.counted_at DESC LIMIT $6) AS account_reserve
  FROM unnest($1::bytea[], $2::uuid[]) AS k (fingerprint, account_id)
"""

# A text that may leave is claimed and counted; a delayed one waits; a verdict without a text is leased until settled.
MARK = f"""
UPDATE dispatch d
   SET state = CASE WHEN s.step = 'send' THEN 'claimed' ELSE 'due' END,
       due_at = CASE s.step WHEN 'delay' THEN s.until
                            WHEN 'withhold' THEN $8::timestamptz + {leases.DUE} END,
       claims = d.claims + (s.step = 'send')::integer,
       claimed_at = CASE WHEN s.step = 'send' THEN $8 END,
       counted_at = CASE WHEN s.step = 'send' THEN $8 END,
       from_reserve = s.from_reserve,
       number_fingerprint = s.fingerprint,
       country = s.country,
       reason = coalesce(s.reason, d.reason)
  FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::timestamptz[], $5::text[], $6::bytea[], $7::text[],
              $9::boolean[])
    AS s (challenge_id, send, step, until, reason, fingerprint, country, from_reserve)
 WHERE d.challenge_id = s.challenge_id AND d.send = s.send
"""  # noqa: S608 - a constant of the runtime


async def known(db: Connection, keys: Sequence[TextKey], code_secrets: Mapping[str, bytes]) -> tuple[Known, datetime]:
    """Return which of these texts are known already, and the database's now."""
    rows = await db.fetch(KNOWN, [key[0] for key in keys], [key[1] for key in keys])
    found = {(row["challenge_id"], row["send"]): row["fingerprint"] for row in rows if row["challenge_id"] is not None}
    return Known(found, code_secrets), rows[0]["now"]


async def insert(db: Connection, dispatches: Sequence[Dispatch], late_reason: str) -> set[TextKey]:
    """Keep new texts and return the keys of those that nobody kept before."""
    rows = await db.fetch(
        INSERT,
        [d.key[0] for d in dispatches],
        [d.key[1] for d in dispatches],
        [d.fingerprint for d in dispatches],
        [d.account_id for d in dispatches],
        [d.user_id for d in dispatches],
        [d.number_id for d in dispatches],
        [d.expires_at for d in dispatches],
        [d.event for d in dispatches],
        [d.traceparent for d in dispatches],
        [d.late for d in dispatches],
        [d.reserved for d in dispatches],
        [d.ip for d in dispatches],
        late_reason,
    )
    return {(row["challenge_id"], row["send"]) for row in rows}


async def due(db: Connection, limit: int, *, sending: bool) -> list[Candidate]:
    """Lock texts that are due, with their numbers, still sealed."""
    return [_candidate(row) for row in await db.fetch(DUE, limit, sending)]


def _candidate(row: asyncpg.Record) -> Candidate:
    number = None
    if row["sealed"] is not None:
        number = SealedNumber(
            row["number_user_id"],
            row["sealed"],
            row["key_id"],
            row["fingerprint"],
            row["country"],
            row["account_members"],
        )
    return Candidate(
        (row["challenge_id"], row["send"]),
        row["account_id"],
        row["user_id"],
        row["number_id"],
        row["expires_at"],
        row["claims"],
        number,
        row["reason"],
        row["reserved"],
        row["event"],
        row["traceparent"],
    )


async def recent(db: Connection, candidates: Sequence[Candidate], limits: TextLimits) -> tuple[Recent, datetime]:
    """Lock the numbers and accounts of these texts, and return when texts to and of them left of late, and the time."""
    fingerprints = {c.key: c.number.fingerprint if c.number else None for c in candidates}
    numbers = {fingerprint for fingerprint in fingerprints.values() if fingerprint is not None}
    accounts = {c.account_id for c in candidates}
    members_max = max((c.number.account_members for c in candidates if c.number), default=0)
    await db.execute(LOCK, _LOCKS, sorted({_lock_of(key) for key in (*numbers, *(a.bytes for a in accounts))}))
    ordinary, reserve = ordinary_of(limits, members_max), reserve_of(limits, members_max)
    rows = await db.fetch(
        RECENT,
        [fingerprints[c.key] for c in candidates],
        [c.account_id for c in candidates],
        max(ordinary.number_hourly, ordinary.number_daily),
        max(reserve.number_hourly, reserve.number_daily),
        ordinary.account_hourly,
        reserve.account_hourly,
    )
    found = Recent(
        {
            row["fingerprint"]: SentTimes(row["number_ordinary"], row["number_reserve"])
            for row in rows
            if row["fingerprint"] is not None
        },
        {row["account_id"]: SentTimes(row["account_ordinary"], row["account_reserve"]) for row in rows},
    )
    return found, max(row["now"] for row in rows)


def _lock_of(key: bytes) -> int:
    return int.from_bytes(sha256(key).digest()[:4], signed=True)


async def mark(db: Connection, steps: Sequence[Step], now: datetime) -> None:
    """Store what was decided about texts that are due."""
    await db.execute(
        MARK,
        [s.candidate.key[0] for s in steps],
        [s.candidate.key[1] for s in steps],
        [_STEPS.get(type(s), "withhold") for s in steps],
        [s.until if isinstance(s, Delay) else None for s in steps],
        [None if isinstance(s, Send) else s.reason for s in steps],
        [s.candidate.number.fingerprint if s.candidate.number else None for s in steps],
        [s.candidate.number.country if s.candidate.number else None for s in steps],
        now,
        [isinstance(s, Send) and s.from_reserve for s in steps],
    )


_STEPS: Mapping[type, str] = {Send: "send", Delay: "delay"}
