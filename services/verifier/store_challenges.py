"""One open challenge: what an answer, a further text and a cancellation read, and what they store of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.runtime.publishing.outbox import kept, owed, owed_columns
from services.verifier.model import Challenge, Circumstances, Counter, Number
from services.verifier.store_assessments import protection_of
from services.verifier.store_decisions import Decided, asked_of, decided, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import Kept
    from services.verifier.grants import Signer
    from services.verifier.model import Decision, Judged

READ_GOOD_FOR = timedelta(seconds=5)  # ours: a process that was stopped meanwhile reads again

CHALLENGE_COLUMNS = """
       c.challenge_id, c.request_id, c.account_id, c.user_id, c.action, c.digest, c.req, c.reasons, c.number_id,
       c.traceparent, c.place_known, c.attempts, c.attempts_max, c.expires_at, c.closed_at
"""

# In one order against answers, further texts and expiry; what is read afterwards is read under these locks. Whoever
# needs a counter too locks it after its challenges.
LOCK = "SELECT FROM challenge WHERE challenge_id = ANY($1::uuid[]) ORDER BY challenge_id FOR UPDATE"

# One snapshot, and a time that is not before it: what it shows was stored before. Nothing is locked: see UNCHANGED.
READ = f"""
SELECT clock_timestamp() AS now, {CHALLENGE_COLUMNS}, c.client, c.summary, f.failures, f.last_failed_at,
       p.user_id AS member_id, p.role, p.two_factor, p.exports_held_until, p.unlocked_at,
       p.number_id AS own_number_id, p.number_state AS own_number_state, p.number_hint AS own_number_hint,
       n.user_id AS sent_user_id, n.state AS sent_state, n.number_hint AS sent_hint,
       s.sends, s.digests, s.last_at,
       a.accepted, a.tries_left, d.outcome, d.reason, d.grant_jws
  FROM challenge c
  JOIN counter f ON f.user_id = c.user_id AND f.place_known = c.place_known
 CROSS JOIN LATERAL (
       SELECT array_agg(send ORDER BY send DESC) AS sends, array_agg(code_digest ORDER BY send DESC) AS digests,
              max(issued_at) AS last_at
         FROM send WHERE challenge_id = c.challenge_id) AS s
  LEFT JOIN enrolment.protection p ON p.user_id = c.user_id AND p.account_id = c.account_id
  LEFT JOIN enrolment.number n ON n.number_id = c.number_id
  LEFT JOIN answer a ON a.challenge_id = c.challenge_id AND a.answer_id = $2
  LEFT JOIN decision d ON d.request_id = c.request_id
 WHERE c.challenge_id = $1
"""  # noqa: S608 - a constant

# `unchanged` has a row only if the challenge is open, and it and its user's counter are as they were read. Both are
# locked until the end of the statement, the challenge first: everybody locks them in this order. Rows that somebody
# else changed while this waited are compared as they are now, and only then the time is looked at.
UNCHANGED = """
held AS (
    SELECT c.challenge_id, c.request_id, c.user_id, c.place_known
      FROM challenge c
      JOIN counter f ON f.user_id = c.user_id AND f.place_known = c.place_known
     WHERE c.challenge_id = $1 AND c.closed_at IS NULL AND c.attempts = $2
       AND f.failures = $3 AND f.last_failed_at IS NOT DISTINCT FROM $4
       FOR UPDATE OF c, f
), unchanged AS (
    SELECT * FROM held WHERE clock_timestamp() < $5
)
"""

# An answer that ends the challenge closes it, too ($13 is null otherwise).
_COUNTED = f"""
{UNCHANGED}, counted AS (
    UPDATE counter f SET failures = $7, last_failed_at = $8 FROM unchanged u
     WHERE f.user_id = u.user_id AND f.place_known = u.place_known
       AND (f.failures, f.last_failed_at) IS DISTINCT FROM ($7, $8)
), kept AS (
    INSERT INTO answer (challenge_id, answer_id, accepted, tries_left, judged_at)
    SELECT challenge_id, $9::uuid, $10::boolean, $11::smallint, $12::timestamptz FROM unchanged
), tried AS (
    UPDATE challenge c SET attempts = $6, closed_at = $13 FROM unchanged u WHERE c.challenge_id = u.challenge_id
)
"""  # noqa: S608 - a constant
COUNT = f"WITH {_COUNTED} SELECT request_id FROM unchanged"  # noqa: S608 - a constant
COUNT_AND_DECIDE = f"""
WITH {_COUNTED}, {decided(13, only="JOIN unchanged USING (request_id)")} SELECT request_id FROM decided
"""  # noqa: S608 - a constant
END = f"""
WITH {UNCHANGED}, ended AS (
    UPDATE challenge c SET closed_at = $6 FROM unchanged u WHERE c.challenge_id = u.challenge_id
), {decided(6, only="JOIN unchanged USING (request_id)")} SELECT request_id FROM decided
"""  # noqa: S608 - a constant

# The number of a text is taken once: whoever read before it was is told to read again.
RESEND = f"""
WITH {UNCHANGED}, sent AS (
    INSERT INTO send (challenge_id, send, code_digest, issued_at)
    SELECT challenge_id, $6::smallint, $7::bytea, $8::timestamptz FROM unchanged
        ON CONFLICT DO NOTHING RETURNING challenge_id
), {owed("sent", "challenge_id", 8)} SELECT challenge_id FROM sent
"""  # noqa: S608 - a constant


class ChangedMeanwhileError(Exception):
    """Nothing was stored: what was read is not so any more. Read again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an answer with the same id got."""

    accepted: bool
    tries_left: int


@dataclass(frozen=True, slots=True)
class Read:
    """A challenge as it is, and what a judgement of it needs.

    `decided`: granted, or the reason of a denial; None while it is open. `client` and `summary` are the JSON that its
    texts repeat.
    """

    challenge: Challenge
    circumstances: Circumstances
    client: str = field(repr=False)
    summary: str = field(repr=False)
    sends: int
    last_at: datetime
    reply: Reply | None
    decided: str | None
    grant: str | None = field(repr=False)

    @property
    def unchanged(self) -> tuple[object, ...]:
        """Return the parameters of UNCHANGED."""
        challenge, seen = self.challenge, self.circumstances
        return (
            challenge.challenge_id,
            challenge.attempts,
            seen.counter.failures,
            seen.counter.last_failed_at,
            seen.now + READ_GOOD_FOR,
        )


async def lock_challenges(db: Connection, challenge_ids: Sequence[UUID]) -> None:
    """Lock challenges until the transaction ends."""
    if challenge_ids:
        await db.execute(LOCK, challenge_ids)


async def read(db: Connection, challenge_id: UUID, good_sends: int, answer_id: UUID | None = None) -> Read | None:
    """Return the challenge, with the reply to that answer if there was one; None: there is no such challenge."""
    row = await db.fetchrow(READ, challenge_id, answer_id)
    if row is None:
        return None
    number = None
    if row["sent_state"] is not None:
        number = Number(row["number_id"], row["sent_user_id"], row["sent_state"], row["sent_hint"])
    digests = tuple(zip(row["sends"], row["digests"], strict=True))
    return Read(
        challenge_of(row),
        Circumstances(
            row["now"],
            Counter(row["failures"], row["last_failed_at"]),
            protection_of(row),
            number,
            digests[:good_sends],
            digests[good_sends:],
        ),
        row["client"],
        row["summary"],
        len(digests),
        row["last_at"],
        None if row["accepted"] is None else Reply(row["accepted"], row["tries_left"]),
        row["reason"] or row["outcome"],
        row["grant_jws"],
    )


async def count(db: Connection, read: Read, judged: Judged, answer_id: UUID, signer: Signer) -> Decided:
    """Store a judged answer: tries of the challenge and its end, failures of the user, and the reply by its id.

    Raises ChangedMeanwhileError, as do the others that store.
    """
    now = read.circumstances.now
    counted = (
        *read.unchanged,
        judged.attempts,
        judged.counter.failures,
        judged.counter.last_failed_at,
        answer_id,
        judged.accepted,
        judged.tries_left,
        now,
        now if judged.ending is not None else None,
    )
    if judged.ending is None:
        await _store(db, COUNT, *counted)
        return Decided()
    decisions = prepare([judged.ending], signer, now)
    return decisions.stored(await _store(db, COUNT_AND_DECIDE, *counted, *decisions.columns))


async def end(db: Connection, read: Read, ending: Decision, signer: Signer) -> Decided:
    """Close a challenge with its decision."""
    now = read.circumstances.now
    decisions = prepare([ending], signer, now)
    return decisions.stored(await _store(db, END, *read.unchanged, now, *decisions.columns))


async def add_send(db: Connection, read: Read, send: int, code_digest: bytes, event: Outgoing) -> Kept:
    """Store a further text and the event that issues it."""
    challenge_id = read.challenge.challenge_id
    due = {challenge_id: event}
    text = (send, code_digest, read.circumstances.now)
    rows = await _store(db, RESEND, *read.unchanged, *text, *owed_columns(due))
    return kept(due, {row["challenge_id"] for row in rows})


async def _store(db: Connection, statement: str, *arguments: object) -> list[asyncpg.Record]:
    rows: list[asyncpg.Record] = await db.fetch(statement, *arguments)
    if not rows:
        raise ChangedMeanwhileError
    return rows


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
