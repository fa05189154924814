"""Decisions: exactly one a request, with its event, and the challenge closed with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from countersign.contract import AccessDenied, AccessGranted
from countersign.runtime import cloudevents
from services.verifier.model import Asked, Denied, Granted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Outgoing
    from services.verifier.grants import Signed, Signer
    from services.verifier.model import Decision

SOURCE = "verifier"

# Whoever closes a challenge waits for whoever holds it, in one order, and finds out then whether it is still open.
CLOSE = """
UPDATE challenge c SET closed_at = $2
  FROM (SELECT challenge_id FROM challenge
         WHERE challenge_id = ANY($1::uuid[]) AND closed_at IS NULL
         ORDER BY challenge_id FOR UPDATE) AS still_open
 WHERE c.challenge_id = still_open.challenge_id AND c.closed_at IS NULL
RETURNING c.challenge_id, c.request_id, c.account_id, c.user_id, c.action, c.digest, c.reasons, c.number_id,
          c.traceparent
"""

DECIDE = """
INSERT INTO decision (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, decided_at)
SELECT request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, $7
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::timestamptz[])
    AS d (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided just now: the events due, and the grants by request."""

    events: list[Outgoing] = field(default_factory=list)
    grants: dict[UUID, str] = field(default_factory=dict, repr=False)


async def close(db: Connection, challenge_ids: Sequence[UUID], now: datetime) -> list[Asked]:
    """Close those that are still open, and return what was asked with them. Each gets its decision next."""
    if not challenge_ids:
        return []
    return [asked_of(row) for row in await db.fetch(CLOSE, challenge_ids, now)]


async def decide(db: Connection, decisions: Sequence[Decision], signer: Signer, now: datetime) -> Decided:
    """Store decisions and return their events and grants: of a request that has a decision already, nothing."""
    if not decisions:
        return Decided()
    signed = {
        decision.asked.request_id: signer.sign(decision.asked, method_of(decision.asked), now)
        for decision in decisions
        if isinstance(decision, Granted)
    }
    rows = [_row(decision, signed) for decision in decisions]
    stored = await db.fetch(DECIDE, *(list(column) for column in zip(*rows, strict=True)), now)
    new = {row["request_id"] for row in stored}
    return Decided(
        [_event(decision, signed, now) for decision in decisions if decision.asked.request_id in new],
        {request_id: grant.jws for request_id, grant in signed.items() if request_id in new},
    )


def method_of(asked: Asked) -> Literal["none", "sms"]:
    """Tell by which means a request was, or was to be, proven."""
    return "none" if asked.challenge_id is None else "sms"


def asked_of(row: asyncpg.Record) -> Asked:
    """Return what was asked, from a row with a challenge's columns."""
    return Asked(
        row["request_id"],
        row["account_id"],
        row["user_id"],
        row["action"],
        row["digest"],
        tuple(row["reasons"]),
        row["challenge_id"],
        row["number_id"],
        row["traceparent"],
    )


def _row(decision: Decision, signed: dict[UUID, Signed]) -> tuple[object, ...]:
    request_id = decision.asked.request_id
    if isinstance(decision, Denied):
        return request_id, "denied", decision.reason, decision.retry_at, None, None
    grant = signed[request_id]
    return request_id, "granted", None, None, grant.jws, grant.expires_at


def _event(decision: Decision, signed: dict[UUID, Signed], now: datetime) -> Outgoing:
    asked = decision.asked
    event: AccessDenied | AccessGranted
    if isinstance(decision, Denied):
        event = AccessDenied(
            request_id=asked.request_id,
            account_id=asked.account_id,
            user_id=asked.user_id,
            action=asked.action,
            digest=asked.digest,
            challenge_id=asked.challenge_id,
            number_id=asked.number_id,
            method=method_of(asked),
            reasons=list(asked.reasons),
            reason=decision.reason,
            retry_at=decision.retry_at,
        )
    else:
        grant = signed[asked.request_id]
        event = AccessGranted(
            request_id=asked.request_id,
            account_id=asked.account_id,
            user_id=asked.user_id,
            action=asked.action,
            digest=asked.digest,
            challenge_id=asked.challenge_id,
            number_id=asked.number_id,
            method=method_of(asked),
            reasons=list(asked.reasons),
            grant=grant.jws,
            grant_expires_at=grant.expires_at,
        )
    return cloudevents.write(event, source=SOURCE, time=now, traceparent=asked.traceparent)
