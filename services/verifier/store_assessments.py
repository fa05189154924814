"""What the fold of assessments reads and writes: a fixed number of statements a batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.verifier.codes import draw
from services.verifier.model import Beliefs, Counter, Fingerprint, Number, Protection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.contract import AccessAssessed
    from countersign.runtime.postgres import Connection
    from services.verifier.model import Asked, Taken

# Two owners of a partition in transition, or requests of one user on two partitions, take turns: the second one's load
# sees what the first one saved. In one order, so that they cannot deadlock.
TAKE_TURNS = """
SELECT pg_advisory_xact_lock(turn)
  FROM (SELECT DISTINCT hashtextextended(user_id::text, 0) AS turn FROM unnest($1::uuid[]) AS u (user_id)
         ORDER BY turn) AS turns
"""

# A second statement, so that it sees what was committed while the first one waited; its time is after the wait.
LOAD = """
SELECT statement_timestamp() AS now, e.request_id,
       r.account_id AS seen_account_id, r.user_id AS seen_user_id, r.action AS seen_action, r.digest AS seen_digest,
       p.user_id AS member_id, p.role, p.two_factor, p.number_id, p.number_state, p.number_hint,
       p.exports_held_until, p.unlocked_at,
       n.number_id AS asked_id, n.user_id AS asked_user_id, n.state AS asked_state, n.number_hint AS asked_hint,
       coalesce(f.failures, 0) AS failures, f.last_failed_at,
       ARRAY(SELECT c.challenge_id FROM challenge c
              WHERE c.user_id = e.user_id AND c.place IS NOT DISTINCT FROM e.place
                AND c.closed_at IS NULL AND c.expires_at > statement_timestamp()
              ORDER BY c.issued_at, c.challenge_id) AS open_challenges
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::boolean[])
    AS e (request_id, account_id, user_id, number_id, place, place_known)
  LEFT JOIN request r ON r.request_id = e.request_id
  LEFT JOIN enrolment.protection p ON p.user_id = e.user_id AND p.account_id = e.account_id
  LEFT JOIN enrolment.number n ON n.number_id = e.number_id
  LEFT JOIN counter f ON f.user_id = e.user_id AND f.place_known = e.place_known
"""

# Of a request taken in before only the first assessment counts, whoever else is at work on it.
TAKE_IN = """
INSERT INTO request (request_id, account_id, user_id, action, digest, place, taken_at)
SELECT request_id, account_id, user_id, action, digest, place, $7
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[])
    AS t (request_id, account_id, user_id, action, digest, place)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""

# The counter's row is made with the challenge, so that an answer finds it to lock.
OPEN = """
WITH opened AS (
    INSERT INTO challenge (challenge_id, request_id, account_id, user_id, action, digest, reasons, client, summary,
                           traceparent, place, place_known, number_id, number_hint, attempts_max, issued_at, expires_at)
    SELECT challenge_id, request_id, account_id, user_id, action, digest, string_to_array(reasons, ' '), client,
           summary, traceparent, place, place_known, number_id, number_hint, $16, $17, $18
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[],
                  $9::text[], $10::text[], $11::text[], $12::boolean[], $13::uuid[], $14::text[], $15::bytea[])
        AS o (challenge_id, request_id, account_id, user_id, action, digest, reasons, client, summary, traceparent,
              place, place_known, number_id, number_hint, code_digest)
     ORDER BY challenge_id
), counted AS (
    INSERT INTO counter (user_id, place_known)
    SELECT DISTINCT user_id, place_known FROM unnest($4::uuid[], $12::boolean[]) AS o (user_id, place_known)
     ORDER BY user_id, place_known
        ON CONFLICT DO NOTHING
)
INSERT INTO send (challenge_id, send, code_digest, issued_at)
SELECT challenge_id, 1, code_digest, $17 FROM unnest($1::uuid[], $15::bytea[]) AS o (challenge_id, code_digest)
 ORDER BY challenge_id
"""


@dataclass(frozen=True, slots=True)
class Opening:
    """A challenge to store, and the digest of its first code."""

    event: AccessAssessed
    asked: Asked
    number: Number
    code_digest: bytes = field(repr=False)


async def load(db: Connection, events: Sequence[AccessAssessed], digits: int) -> tuple[dict[UUID, Beliefs], datetime]:
    """Return beliefs by request, each with a code drawn in case one is needed, and the database's now."""
    await db.execute(TAKE_TURNS, [event.user_id for event in events])
    rows = await db.fetch(
        LOAD,
        [event.request_id for event in events],
        [event.account_id for event in events],
        [event.user_id for event in events],
        [event.number_id for event in events],
        [event.place for event in events],
        [event.place_known for event in events],
    )
    return {row["request_id"]: _beliefs(row, digits) for row in rows}, rows[0]["now"]


async def take_in(db: Connection, taken: Sequence[Taken], now: datetime) -> set[UUID]:
    """Store requests and return those that are new."""
    events = [one.event for one in taken]
    rows = await db.fetch(
        TAKE_IN,
        [event.request_id for event in events],
        [event.account_id for event in events],
        [event.user_id for event in events],
        [event.action for event in events],
        [event.digest for event in events],
        [event.place for event in events],
        now,
    )
    return {row["request_id"] for row in rows}


def _beliefs(row: asyncpg.Record, digits: int) -> Beliefs:
    seen = None
    if row["seen_account_id"] is not None:
        seen = Fingerprint(row["seen_account_id"], row["seen_user_id"], row["seen_action"], row["seen_digest"])
    asked = None
    if row["asked_id"] is not None:
        asked = Number(row["asked_id"], row["asked_user_id"], row["asked_state"], row["asked_hint"])
    return Beliefs(
        seen=seen,
        protection=protection_of(row),
        asked_number=asked,
        counter=Counter(row["failures"], row["last_failed_at"]),
        open_challenges=tuple(row["open_challenges"]),
        fresh=draw(digits),
    )


def protection_of(row: asyncpg.Record) -> Protection | None:
    """Return the member of a row with the columns of enrolment.protection and `member_id`; None where there is none."""
    if row["role"] is None:
        return None
    number = None
    if row["number_id"] is not None:
        number = Number(row["number_id"], row["member_id"], row["number_state"], row["number_hint"])
    return Protection(row["role"], row["two_factor"], number, row["exports_held_until"], row["unlocked_at"])


async def open_challenges(
    db: Connection, opening: Sequence[Opening], *, attempts_max: int, now: datetime, expires_at: datetime
) -> None:
    """Store challenges with their first text and, where there is none yet, the counter they are counted by."""
    if not opening:
        return
    rows = [_challenge_row(one) for one in opening]
    await db.execute(OPEN, *(list(column) for column in zip(*rows, strict=True)), attempts_max, now, expires_at)


def _challenge_row(one: Opening) -> tuple[object, ...]:
    asked, event = one.asked, one.event
    return (
        asked.challenge_id,
        asked.request_id,
        asked.account_id,
        asked.user_id,
        asked.action,
        asked.digest,
        " ".join(asked.reasons),
        event.client.model_dump_json(),
        event.summary.model_dump_json(),
        asked.traceparent,
        event.place,
        event.place_known,
        one.number.number_id,
        one.number.hint,
        one.code_digest,
    )
