"""What the fold of assessments reads and writes: a fixed number of statements a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.runtime.publishing.outbox import NOTHING, kept, owed, owed_columns
from services.verifier.codes import draw
from services.verifier.model import Beliefs, Counter, Fingerprint, Number, Protection
from services.verifier.store_decisions import decided, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.contract import AccessAssessed
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.verifier.grants import Signer
    from services.verifier.issue import Issued
    from services.verifier.model import Asked, Decision, Taken

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
       r.req AS seen_req,
       p.user_id AS member_id, p.role, p.two_factor, p.exports_held_until, p.unlocked_at,
       p.number_id AS own_number_id, p.number_state AS own_number_state, p.number_hint AS own_number_hint,
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

# Of a request taken in before only the first assessment counts, whoever else is at work on it: all that follows from
# one is joined to this, and stored in the same statement.
TAKE_IN = """
INSERT INTO request (request_id, account_id, user_id, action, digest, place, req, taken_at)
SELECT request_id, account_id, user_id, action, digest, place, req, $8
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS t (request_id, account_id, user_id, action, digest, place, req)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""

DECIDE = f"""
WITH taken AS ({TAKE_IN}), {decided(8, only="JOIN taken USING (request_id)")} SELECT request_id FROM decided
"""  # noqa: S608 - a constant

# The counter's row is made with the challenge, so that an answer finds it to lock. That it is used is written at most
# daily: what is not used for long is deleted.
OPEN = f"""
WITH taken AS ({TAKE_IN}), opening AS (
    SELECT o.*
      FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $9::uuid[],
                  $10::text[], $11::text[], $12::text[], $13::text[], $14::boolean[], $15::uuid[], $16::text[],
                  $17::bytea[])
        AS o (request_id, account_id, user_id, action, digest, place, req, challenge_id, reasons, client, summary,
              traceparent, place_known, number_id, number_hint, code_digest)
      JOIN taken USING (request_id)
), opened AS (
    INSERT INTO challenge (challenge_id, request_id, account_id, user_id, action, digest, req, reasons, client, summary,
                           traceparent, place, place_known, number_id, number_hint, attempts_max, issued_at, expires_at)
    SELECT challenge_id, request_id, account_id, user_id, action, digest, req, string_to_array(reasons, ' '), client,
           summary, traceparent, place, place_known, number_id, number_hint, $18, $8, $19
      FROM opening ORDER BY challenge_id
), counted AS (
    INSERT INTO counter AS f (user_id, place_known)
    SELECT DISTINCT user_id, place_known FROM opening ORDER BY user_id, place_known
        ON CONFLICT (user_id, place_known) DO UPDATE SET used_at = now() WHERE f.used_at < now() - interval '1 day'
), sent AS (
    INSERT INTO send (challenge_id, send, code_digest, issued_at)
    SELECT challenge_id, 1, code_digest, $8 FROM opening ORDER BY challenge_id
), {owed("taken", "request_id", 19)}
SELECT request_id FROM taken
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Opening:
    """A challenge to store, the digest of its first code, and the event with that code."""

    one: Taken
    asked: Asked
    number: Number
    issued: Issued


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


async def decide(
    db: Connection, taken: Sequence[Taken], decisions: Sequence[Decision], signer: Signer, now: datetime
) -> Kept:
    """Store requests that need no challenge with their decisions; of those taken in before, nothing."""
    if not taken:
        return NOTHING
    prepared = prepare(decisions, signer, now)
    rows = await db.fetch(DECIDE, *_request_columns(taken, now), *prepared.columns)
    return prepared.stored(rows).events


async def open_challenges(
    db: Connection, opening: Sequence[Opening], *, attempts_max: int, now: datetime, expires_at: datetime
) -> tuple[Kept, set[UUID]]:
    """Store requests with their challenges, first texts and, where there is none yet, the counter they count by.

    Return what is due, and the requests that are new: of those taken in before, nothing is stored.
    """
    if not opening:
        return NOTHING, set()
    due = {one.asked.request_id: one.issued.event for one in opening}
    columns = zip(*(_challenge_row(one) for one in opening), strict=True)
    requests = _request_columns([one.one for one in opening], now)
    rows = await db.fetch(
        OPEN, *requests, *(list(column) for column in columns), attempts_max, expires_at, *owed_columns(due)
    )
    new = {row["request_id"] for row in rows}
    return kept(due, new), new


def _request_columns(taken: Sequence[Taken], now: datetime) -> tuple[object, ...]:
    events = [one.event for one in taken]
    return (
        [event.request_id for event in events],
        [event.account_id for event in events],
        [event.user_id for event in events],
        [event.action for event in events],
        [event.digest for event in events],
        [event.place for event in events],
        [event.req for event in events],
        now,
    )


def _beliefs(row: asyncpg.Record, digits: int) -> Beliefs:
    seen = None
    if row["seen_account_id"] is not None:
        names = ("seen_account_id", "seen_user_id", "seen_action", "seen_digest", "seen_req")
        seen = Fingerprint(*(row[name] for name in names))
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
    """Return the member of a row with enrolment.protection, its columns named as LOAD names them; None: no member."""
    if row["role"] is None:
        return None
    number = None
    if row["own_number_id"] is not None:
        number = Number(row["own_number_id"], row["member_id"], row["own_number_state"], row["own_number_hint"])
    return Protection(row["role"], row["two_factor"], number, row["exports_held_until"], row["unlocked_at"])


def _challenge_row(one: Opening) -> tuple[object, ...]:
    asked, event = one.asked, one.one.event
    return (
        asked.challenge_id,
        " ".join(asked.reasons),
        event.client.model_dump_json(),
        event.summary.model_dump_json(),
        asked.traceparent,
        event.place_known,
        one.number.number_id,
        one.number.hint,
        one.issued.code_digest,
    )
