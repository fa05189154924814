"""One challenge under its lock: what an answer, a further text and a cancellation read and write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.contract import Client, Summary
from services.verifier.model import Challenge, Circumstances, Counter, Number
from services.verifier.store_assessments import protection_of
from services.verifier.store_decisions import Decided, asked_of, decided, prepare

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from services.verifier.grants import Signer
    from services.verifier.model import Judged

CHALLENGE_COLUMNS = """
       c.challenge_id, c.request_id, c.account_id, c.user_id, c.action, c.digest, c.req, c.reasons, c.number_id,
       c.traceparent, c.place_known, c.attempts, c.attempts_max, c.expires_at, c.closed_at, c.client, c.summary
"""

# The challenge first, then its user's counter: everybody takes them in this order. Rows that somebody else changed
# while this waited come as they are now; the rest is read in a second statement.
LOCK = f"""
SELECT {CHALLENGE_COLUMNS}, f.failures, f.last_failed_at
  FROM challenge c
  JOIN counter f ON f.user_id = c.user_id AND f.place_known = c.place_known
 WHERE c.challenge_id = $1
   FOR UPDATE OF c, f
"""  # noqa: S608 - a constant

# After the locks: clock_timestamp() in the statement that waits for a lock would be read before it was given, and now()
# is the time of BEGIN.
SEE = """
SELECT clock_timestamp() AS now, p.user_id AS member_id, p.role, p.two_factor, p.number_id, p.number_state,
       p.number_hint, p.exports_held_until, p.unlocked_at,
       n.user_id AS sent_user_id, n.state AS sent_state, n.number_hint AS sent_hint,
       s.sends, s.digests, s.last_at,
       a.accepted, a.tries_left, d.outcome, d.reason, d.grant_jws
  FROM (SELECT array_agg(send ORDER BY send DESC) AS sends, array_agg(code_digest ORDER BY send DESC) AS digests,
               max(issued_at) AS last_at
          FROM send WHERE challenge_id = $1) AS s
  LEFT JOIN enrolment.protection p ON p.user_id = $3 AND p.account_id = $2
  LEFT JOIN enrolment.number n ON n.number_id = $4
  LEFT JOIN answer a ON a.challenge_id = $1 AND a.answer_id = $5
  LEFT JOIN decision d ON d.request_id = $6
"""

# An answer that ends the challenge closes it in the same breath ($11 is null otherwise).
_COUNTED = """
counted AS (
    UPDATE counter SET failures = $5, last_failed_at = $6
     WHERE user_id = $3 AND place_known = $4 AND (failures, last_failed_at) IS DISTINCT FROM ($5, $6)
), kept AS (
    INSERT INTO answer (challenge_id, answer_id, accepted, tries_left, judged_at) VALUES ($1, $7, $8, $9, $10)
), tried AS (
    UPDATE challenge SET attempts = $2, closed_at = $11 WHERE challenge_id = $1
)
"""
COUNT = f"WITH {_COUNTED} SELECT"
COUNT_AND_DECIDE = f"WITH {_COUNTED}, {decided(11)} SELECT request_id FROM decided"  # noqa: S608 - a constant

RESEND = "INSERT INTO send (challenge_id, send, code_digest, issued_at) VALUES ($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Locked:
    """A challenge, its user's counter, and what its texts repeat; all under lock."""

    challenge: Challenge
    counter: Counter
    client: Client
    summary: Summary


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer with the same id got."""

    accepted: bool
    tries_left: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read under the locks. `decided`: granted, or the reason of a denial; None while it is open."""

    circumstances: Circumstances
    sends: int
    last_at: datetime
    reply: Reply | None
    decided: str | None
    grant: str | None = field(repr=False)


async def lock(db: Connection, challenge_id: UUID) -> Locked | None:
    """Lock a challenge and its counter until the end of the transaction; None: there is no such challenge."""
    row = await db.fetchrow(LOCK, challenge_id)
    if row is None:
        return None
    return Locked(
        challenge_of(row),
        Counter(row["failures"], row["last_failed_at"]),
        Client.model_validate_json(row["client"]),
        Summary.model_validate_json(row["summary"]),
    )


async def see(db: Connection, locked: Locked, good_sends: int, answer_id: UUID | None = None) -> Seen:
    """Read, after the locks, the time and all that a judgement needs."""
    asked = locked.challenge.asked
    row = await db.fetchrow(
        SEE,
        locked.challenge.challenge_id,
        asked.account_id,
        asked.user_id,
        asked.number_id,
        answer_id,
        asked.request_id,
    )
    assert row is not None  # an aggregate has a row
    number = None
    if row["sent_state"] is not None and asked.number_id is not None:
        number = Number(asked.number_id, row["sent_user_id"], row["sent_state"], row["sent_hint"])
    digests = tuple(zip(row["sends"], row["digests"], strict=True))
    good, older = digests[:good_sends], digests[good_sends:]
    return Seen(
        Circumstances(row["now"], locked.counter, protection_of(row), number, good, older),
        len(row["sends"]),
        row["last_at"],
        None if row["accepted"] is None else Reply(row["accepted"], row["tries_left"]),
        row["reason"] or row["outcome"],
        row["grant_jws"],
    )


async def count(
    db: Connection, challenge: Challenge, judged: Judged, answer_id: UUID, *, signer: Signer, now: datetime
) -> Decided:
    """Store a judged answer: tries of the challenge and its end, failures of the user, and the reply by its id."""
    counted = (
        challenge.challenge_id,
        judged.attempts,
        challenge.asked.user_id,
        challenge.place_known,
        judged.counter.failures,
        judged.counter.last_failed_at,
        answer_id,
        judged.accepted,
        judged.tries_left,
        now,
        now if judged.ending is not None else None,
    )
    if judged.ending is None:
        await db.execute(COUNT, *counted)
        return Decided()
    decisions = prepare([judged.ending], signer, now)
    return decisions.stored(await db.fetch(COUNT_AND_DECIDE, *counted, *decisions.columns))


async def add_send(db: Connection, challenge_id: UUID, send: int, code_digest: bytes, now: datetime) -> None:
    """Store a further text."""
    await db.execute(RESEND, challenge_id, send, code_digest, now)


def challenge_of(row: asyncpg.Record) -> Challenge:
    """Return the challenge of a row with CHALLENGE_COLUMNS."""
    return Challenge(
        row["challenge_id"],
        asked_of(row),
        row["place_known"],
        row["attempts"],
        row["attempts_max"],
        row["expires_at"],
        row["closed_at"],
    )
