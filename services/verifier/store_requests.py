"""What became of requests: one query for all that somebody waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from services.verifier.judge import resend_after

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from services.verifier.model import TextState

# A record that the risk-evaluator refused counts for nothing once another one under the id was judged.
BECAME = """
SELECT w.request_id, f.cause, d.outcome, d.reason, d.retry_at, d.grant_jws,
       c.challenge_id, c.number_hint, c.expires_at, c.attempts, c.attempts_max, s.send, s.issued_at, s.state
  FROM unnest($1::uuid[]) AS w (request_id)
  LEFT JOIN request r ON r.request_id = w.request_id
  LEFT JOIN LATERAL (SELECT cause FROM risk_evaluator.refusal WHERE request_id = w.request_id AND r.request_id IS NULL
                      ORDER BY kept_at DESC LIMIT 1) AS f ON true
  LEFT JOIN decision d ON d.request_id = r.request_id
  LEFT JOIN challenge c ON c.request_id = r.request_id
  LEFT JOIN LATERAL (SELECT send, issued_at, state FROM send WHERE challenge_id = c.challenge_id
                      ORDER BY send DESC LIMIT 1) AS s ON true
 WHERE r.request_id IS NOT NULL OR f.cause IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class ChallengeState:
    """A challenge as its claimant may see it; `text`, `send` and `sent_at` are the latest text's."""

    challenge_id: UUID
    number_hint: str
    expires_at: datetime
    resend_after: datetime | None
    tries_left: int
    text: TextState
    send: int
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class RequestState:
    """What became of a request that was taken in, or `refused`: its record could not be read, `cause` says why."""

    request_id: UUID
    state: Literal["challenged", "granted", "denied", "refused"]
    challenge: ChallengeState | None = None
    grant: str | None = field(default=None, repr=False)
    reason: str | None = None
    retry_at: datetime | None = None
    cause: str | None = None


async def became(db: Connection, request_ids: Sequence[UUID]) -> dict[UUID, RequestState]:
    """Return the states of those requests that were taken in, or refused."""
    return {row["request_id"]: _state(row) for row in await db.fetch(BECAME, request_ids)}


def _state(row: asyncpg.Record) -> RequestState:
    if row["cause"] is not None:
        return RequestState(row["request_id"], "refused", cause=row["cause"])
    return RequestState(
        row["request_id"],
        row["outcome"] or "challenged",
        _challenge(row) if row["challenge_id"] is not None else None,
        row["grant_jws"],
        row["reason"],
        row["retry_at"],
    )


def _challenge(row: asyncpg.Record) -> ChallengeState:
    over = row["outcome"] is not None
    return ChallengeState(
        row["challenge_id"],
        row["number_hint"],
        row["expires_at"],
        None if over else resend_after(row["send"], row["issued_at"], row["expires_at"]),
        0 if over else max(0, row["attempts_max"] - row["attempts"]),
        row["state"],
        row["send"],
        row["issued_at"],
    )
