"""What the fold of deliveries reads and writes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from services.verifier.decide_delivery import Texts
from services.verifier.model import Send
from services.verifier.store_challenges import CHALLENGE_COLUMNS, challenge_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.postgres import Connection
    from services.verifier.model import Delivered

# Locked in one order against answers, further texts and expiry; what is read afterwards is read under these locks.
LOCK = f"""
SELECT {CHALLENGE_COLUMNS}
  FROM challenge c WHERE c.challenge_id = ANY($1::uuid[]) ORDER BY c.challenge_id FOR UPDATE
"""  # noqa: S608 - a constant

TEXTS = """
SELECT challenge_id, send, issued_at, state, reason, retry_at FROM send WHERE challenge_id = ANY($1::uuid[])
"""

NOW = "SELECT statement_timestamp()"

# The first outcome of a text stands.
DELIVER = """
UPDATE send s SET state = d.state, reason = d.reason, retry_at = d.retry_at
  FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::timestamptz[])
    AS d (challenge_id, send, state, reason, retry_at)
 WHERE s.challenge_id = d.challenge_id AND s.send = d.send AND s.state = 'sending'
"""


async def load(db: Connection, challenge_ids: Sequence[UUID]) -> tuple[dict[UUID, Texts], datetime]:
    """Lock the challenges and return them with their texts, and the database's now."""
    challenges = [challenge_of(row) for row in await db.fetch(LOCK, challenge_ids)]
    sends: defaultdict[UUID, dict[int, Send]] = defaultdict(dict)
    for row in await db.fetch(TEXTS, challenge_ids):
        sends[row["challenge_id"]][row["send"]] = Send(
            row["send"], row["issued_at"], row["state"], row["reason"], row["retry_at"]
        )
    now: datetime = await db.fetchval(NOW)
    return {challenge.challenge_id: Texts(challenge, sends[challenge.challenge_id]) for challenge in challenges}, now


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
