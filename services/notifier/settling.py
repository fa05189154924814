"""The SQL by which texts come to their end: one statement a batch, which keeps what they then owe to Kafka, too."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from countersign.runtime.publishing.outbox import kept, owed, owed_columns
from services.notifier.decide import first_of_each
from services.notifier.model import Addressed, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.publishing.outbox import Kept
    from services.notifier.model import Settlement, TextKey

IN_DOUBT = """
SELECT now() AS now, challenge_id, send, claims, account_id, user_id, number_id, country, traceparent FROM dispatch
 WHERE state = 'claimed' AND claimed_at < now() - $2::interval
 ORDER BY claimed_at LIMIT $1
"""

# Locked in one order, so that a late sender and whoever doubted its claim cannot deadlock; the first of them counts.
# A text that certainly did not leave is due again, and does not count against the limits.
SETTLE = """
WITH held AS (
    SELECT d.challenge_id, d.send, s.state, s.reason, s.retry_at, s.segments, s.message_id, s.pause, s.nth,
           convert_from(d.event, 'UTF8')::jsonb ->> 'request_id' AS request_id
      FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::timestamptz[],
                  $8::smallint[], $9::text[], $10::float8[], $11::uuid[])
        AS s (challenge_id, send, was, claims, state, reason, retry_at, segments, message_id, pause, nth)
      JOIN dispatch d USING (challenge_id, send)
     WHERE d.state = s.was AND d.claims = s.claims
     ORDER BY d.challenge_id, d.send
       FOR UPDATE OF d)
UPDATE dispatch d
   SET state = h.state,
       reason = h.reason,
       retry_at = h.retry_at,
       segments = h.segments,
       provider_message_id = h.message_id,
       event = CASE WHEN h.state = 'due' THEN d.event END,
       due_at = CASE WHEN h.state = 'due' THEN now() + make_interval(secs => h.pause) END,
       claimed_at = CASE WHEN h.state <> 'due' THEN d.claimed_at END,
       counted_at = CASE WHEN h.state <> 'due' THEN d.counted_at END,
       settled_at = CASE WHEN h.state <> 'due' THEN now() END
  FROM held h
 WHERE d.challenge_id = h.challenge_id AND d.send = h.send
RETURNING d.challenge_id, d.send, d.account_id, d.user_id, d.state, d.country, d.reason, h.request_id, h.nth,
          extract(epoch FROM now() - d.created_at)::float8 AS age_seconds
"""
SETTLE_OWING = f"WITH settled AS ({SETTLE}), {owed('settled', 'nth', 11)} SELECT * FROM settled"  # noqa: S608 - a constant


async def in_doubt(
    db: Connection, limit: int, settled_within: timedelta
) -> list[tuple[datetime, TextKey, int, Addressed]]:
    """Return claims that nobody settled in time: the database's now, text, how often it was claimed, and to whom."""
    return [
        (
            row["now"],
            (row["challenge_id"], row["send"]),
            row["claims"],
            Addressed(row["account_id"], row["user_id"], row["number_id"], row["country"], row["traceparent"]),
        )
        for row in await db.fetch(IN_DOUBT, limit, settled_within)
    ]


async def settle(db: Connection, settlements: Sequence[Settlement]) -> tuple[list[asyncpg.Record], Kept]:
    """Settle those that are still as they were left; return them as they are now, and what they owe to Kafka."""
    settlements = first_of_each(settlements)
    nths = [UUID(int=nth) for nth in range(len(settlements))]  # not by text: two may be of one, and one of them counts
    due = {nth: s.delivery for nth, s in zip(nths, settlements, strict=True) if s.delivery is not None}
    rows: list[asyncpg.Record] = await db.fetch(
        SETTLE_OWING,
        [s.key[0] for s in settlements],
        [s.key[1] for s in settlements],
        [s.was for s in settlements],
        [s.claims for s in settlements],
        [s.state for s in settlements],
        [s.reason for s in settlements],
        [s.retry_at for s in settlements],
        [s.segments for s in settlements],
        [s.message_id for s in settlements],
        [s.pause_seconds for s in settlements],
        nths,
        *owed_columns(due),
    )
    return rows, kept(due, {row["nth"] for row in rows})


def is_end(row: asyncpg.Record) -> bool:
    """Tell whether a settled text has come to its end, or is due again."""
    return State(row["state"]) is not State.DUE
