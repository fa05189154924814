"""What the fold of deliveries reads and writes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from services.verifier.decide_delivery import Texts
from services.verifier.model import Send
from services.verifier.store_challenges import CHALLENGE_COLUMNS, challenge_of, lock_challenges

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from services.verifier.model import Delivered

# A row for each text, and one with the time alone where there is no challenge.
TEXTS = f"""
SELECT statement_timestamp() AS now, {CHALLENGE_COLUMNS}, s.send, s.issued_at, s.state, s.reason, s.retry_at
  FROM unnest($1::uuid[]) AS asked (challenge_id)
  LEFT JOIN challenge c USING (challenge_id)
  LEFT JOIN send s ON s.challenge_id = c.challenge_id
"""  # noqa: S608 - a constant

# The first outcome of a text stands. Locked in one order, as the challenges may not be: two owners of a partition in
# transition cannot deadlock.
DELIVER = """
WITH held AS (
    SELECT d.*
      FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::timestamptz[])
        AS d (challenge_id, send, state, reason, retry_at)
      JOIN send s USING (challenge_id, send)
     WHERE s.state = 'sending'
     ORDER BY challenge_id, send FOR UPDATE OF s)
UPDATE send s SET state = h.state, reason = h.reason, retry_at = h.retry_at
  FROM held h
 WHERE s.challenge_id = h.challenge_id AND s.send = h.send
"""


async def load(db: Connection, challenge_ids: Sequence[UUID], *, lock: bool) -> tuple[dict[UUID, Texts], datetime]:
    """Return the challenges with their texts, and the database's now; with `lock` until the transaction ends."""
    if lock:
        await lock_challenges(db, challenge_ids)
    rows = await db.fetch(TEXTS, challenge_ids)
    challenges = {row["challenge_id"]: challenge_of(row) for row in rows if row["request_id"] is not None}
    sends: defaultdict[UUID, dict[int, Send]] = defaultdict(dict)
    for row in rows:
        if row["send"] is not None:
            sends[row["challenge_id"]][row["send"]] = Send(
                row["send"], row["issued_at"], row["state"], row["reason"], row["retry_at"]
            )
    return {key: Texts(challenge, sends[key]) for key, challenge in challenges.items()}, rows[0]["now"]


async def deliver(db: Connection, delivered: Sequence[Delivered]) -> None:
    """Store what became of texts."""
    await db.execute(
        DELIVER,
        [one.challenge_id for one in delivered],
        [one.send.send for one in delivered],
        [one.send.state for one in delivered],
        [one.send.reason for one in delivered],
        [one.send.retry_at for one in delivered],
    )
