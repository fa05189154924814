"""The statements, a fixed number a batch whatever its size, and nothing that decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.publishing.outbox import kept, owed, owed_columns
from services.risk_evaluator.model import Beliefs, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from asyncpg import Record as Row

    from countersign.contract import AccessAssessed, AccessRequested
    from countersign.policy import PlaceRules
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import Kept

# $6: how long an idle place counts, $8: how long any does (0 = for ever); $7: whether a colleague's place counts.
LOAD = """
SELECT now() AS now, r.request_id, r.place,
       a.account_id, a.user_id, a.action, a.digest, a.req,
       p.role, p.two_factor, p.number_state, p.exports_held_until,
       n.state IN ('provided', 'confirmed') AS named_number_usable,
       EXISTS (SELECT FROM place k
                WHERE k.account_id = r.account_id AND k.place = r.place
                  AND ($7 OR k.taught_by = r.user_id)
                  AND ($6::interval = interval '0' OR k.last_used_at > now() - $6::interval)
                  AND ($8::interval = interval '0' OR k.first_used_at > now() - $8::interval)) AS place_known
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[])
    AS r (request_id, account_id, user_id, place, number_id)
  LEFT JOIN assessment a ON a.request_id = r.request_id
  LEFT JOIN enrolment.protection p ON p.account_id = r.account_id AND p.user_id = r.user_id
  LEFT JOIN enrolment.number n ON n.number_id = r.number_id AND n.user_id = r.user_id
"""

# Of a request only the first assessment counts, whoever else is at work on it. In one order, so that two owners of a
# partition in transition cannot deadlock.
SAVE = """
INSERT INTO assessment (request_id, account_id, user_id, action, digest, place, place_known, outcome, reasons,
                        policy_version, requested_at, req)
SELECT request_id, account_id, user_id, action, digest, place, place_known, outcome, string_to_array(reasons, ' '),
       policy_version, requested_at, req
  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bool[], $8::text[],
              $9::text[], $10::text[], $11::timestamptz[], $12::text[])
    AS a (request_id, account_id, user_id, action, digest, place, place_known, outcome, reasons, policy_version,
          requested_at, req)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""
SAVE_OWING = f"WITH saved AS ({SAVE}), {owed('saved', 'request_id', 12)} SELECT request_id FROM saved"  # noqa: S608 - a constant

# Of two different requests under one id, the second one that is saved finds the first one here.
CONFLICTING = """
SELECT request_id FROM assessment JOIN unnest($1::uuid[], $2::text[]) AS l (request_id, lost_req) USING (request_id)
 WHERE req IS DISTINCT FROM lost_req
"""

DISPUTE = """
UPDATE assessment SET disputed_at = now()
 WHERE request_id IN (SELECT request_id FROM assessment
                       WHERE request_id = ANY($1::uuid[]) AND disputed_at IS NULL ORDER BY request_id FOR UPDATE)
"""


async def beliefs_about(
    db: Connection, asked: Sequence[tuple[AccessRequested, str | None]], rules: PlaceRules
) -> tuple[dict[UUID, Beliefs], datetime]:
    """Return what is held about each request and its place, by request_id, and the database's now."""
    rows = await db.fetch(
        LOAD,
        [request.request_id for request, _ in asked],
        [request.account_id for request, _ in asked],
        [request.user_id for request, _ in asked],
        [place for _, place in asked],
        [request.number_id for request, _ in asked],
        rules.forget_after,
        rules.scope == "account",
        rules.life_max,
    )
    return {row["request_id"]: _beliefs(row) for row in rows}, rows[0]["now"]


async def save_assessments(
    db: Connection, events: Sequence[AccessAssessed], due: Mapping[UUID, Outgoing]
) -> tuple[Kept, set[UUID]]:
    """Store assessments; return what is due for those that are the first of their request, and the ids of these."""
    rows = await db.fetch(
        SAVE_OWING,
        [event.request_id for event in events],
        [event.account_id for event in events],
        [event.user_id for event in events],
        [event.action for event in events],
        [event.digest for event in events],
        [event.place for event in events],
        [event.place_known for event in events],
        [event.outcome for event in events],
        [" ".join(event.reasons) for event in events],
        [event.policy_version for event in events],
        [event.requested_at for event in events],
        [event.req for event in events],
        *owed_columns(due),
    )
    new = {row["request_id"] for row in rows}
    return kept(due, new), new


async def conflicting(db: Connection, lost: Sequence[AccessAssessed]) -> set[UUID]:
    """Return those of these ids under which another request was assessed."""
    rows = await db.fetch(CONFLICTING, [event.request_id for event in lost], [event.req for event in lost])
    return {row["request_id"] for row in rows}


async def dispute(db: Connection, request_ids: Sequence[UUID]) -> None:
    """Note that other requests came under these ids: grants of these teach nothing from now on."""
    await db.execute(DISPUTE, request_ids)


async def now(db: Connection) -> datetime:
    """Return the database's now."""
    moment: datetime = await db.fetchval("SELECT now()")
    return moment


def _beliefs(row: Row) -> Beliefs:
    return Beliefs(
        role=row["role"],
        two_factor=bool(row["two_factor"]),
        number=row["number_state"],
        named_number_usable=bool(row["named_number_usable"]),
        exports_held_until=row["exports_held_until"],
        place=row["place"],
        place_known=row["place_known"],
        assessed=None if row["digest"] is None else _fingerprint(row),
    )


def _fingerprint(row: Row) -> Fingerprint:
    return Fingerprint(row["account_id"], row["user_id"], row["action"], row["digest"], row["req"])
