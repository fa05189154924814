"""Decisions: exactly one a request, with its event, and the challenge closed with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from countersign.contract import AccessDenied, AccessGranted
from countersign.runtime.messages import cloudevents
from countersign.runtime.publishing.outbox import NOTHING, kept, owed, owed_columns
from services.verifier.model import Asked, Denied, Granted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import Kept
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
          c.traceparent, c.req
"""

_DECIDED = """
decided AS (
    INSERT INTO decision (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, decided_at)
    SELECT request_id, outcome, reason, retry_at, grant_jws, grant_expires_at, ${0}
      FROM unnest(${1}::uuid[], ${2}::text[], ${3}::text[], ${4}::timestamptz[], ${5}::text[], ${6}::timestamptz[])
        AS d (request_id, outcome, reason, retry_at, grant_jws, grant_expires_at)
     {only}
     ORDER BY request_id
        ON CONFLICT DO NOTHING RETURNING request_id
), {owed}
"""


def decided(after: int, only: str = "") -> str:
    """Return parts of a WITH that store decisions with what they owe; `decided` returns those that are new.

    Its parameters are those of `Decisions`, behind the `after` of the statement's own.
    """
    owing = owed("decided", "request_id", after + 7)
    return _DECIDED.format(*range(after + 1, after + 8), only=only, owed=owing)


DECIDE = f"WITH {decided(0)} SELECT request_id FROM decided"  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Decisions:
    """Decisions that are to be stored: the parameters of `decided`, and grants and events by request."""

    columns: tuple[object, ...] = field(repr=False)
    events: dict[UUID, Outgoing]
    grants: dict[UUID, str] = field(repr=False)

    def stored(self, rows: Sequence[asyncpg.Record]) -> Decided:
        """Return those that are new, by the rows that the statement returned."""
        new = {row["request_id"] for row in rows}
        grants = {request_id: grant for request_id, grant in self.grants.items() if request_id in new}
        return Decided(kept(self.events, new), grants)


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided just now: its events, and the grants by request."""

    events: Kept = NOTHING
    grants: dict[UUID, str] = field(default_factory=dict, repr=False)


async def close(db: Connection, challenge_ids: Sequence[UUID], now: datetime) -> list[Asked]:
    """Close those that are still open, and return what was asked with them. Each gets its decision next."""
    if not challenge_ids:
        return []
    return [asked_of(row) for row in await db.fetch(CLOSE, challenge_ids, now)]


async def decide(db: Connection, decisions: Sequence[Decision], signer: Signer, now: datetime) -> Decided:
    """Store decisions with their events, and return grants: of a request that has a decision already, nothing."""
    if not decisions:
        return Decided()
    prepared = prepare(decisions, signer, now)
    return prepared.stored(await db.fetch(DECIDE, *prepared.columns))


def prepare(decisions: Sequence[Decision], signer: Signer, now: datetime) -> Decisions:
    """Sign, and return what is to be stored."""
    signed = {
        decision.asked.request_id: signer.sign(decision.asked, method_of(decision.asked), now)
        for decision in decisions
        if isinstance(decision, Granted)
    }
    rows = [_row(decision, signed) for decision in decisions]
    proofs = {
        decision.asked.request_id: signer.sign_denial(decision, now)
        for decision in decisions
        if isinstance(decision, Denied)
    }
    events = {decision.asked.request_id: _event(decision, signed, proofs, now) for decision in decisions}
    columns = (now, *(list(column) for column in zip(*rows, strict=True)), *owed_columns(events))
    return Decisions(columns, events, {request_id: grant.jws for request_id, grant in signed.items()})


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
        row["req"],
    )


def _row(decision: Decision, signed: dict[UUID, Signed]) -> tuple[object, ...]:
    request_id = decision.asked.request_id
    if isinstance(decision, Denied):
        return request_id, "denied", decision.reason, decision.retry_at, None, None
    grant = signed[request_id]
    return request_id, "granted", None, None, grant.jws, grant.expires_at


def _event(decision: Decision, signed: dict[UUID, Signed], proofs: dict[UUID, str], now: datetime) -> Outgoing:
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
            proof=proofs[asked.request_id],
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
