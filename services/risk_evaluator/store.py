"""The statements, a fixed number a batch whatever its size, and nothing that decides."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.runtime.outbox import kept, owed, owed_columns
from countersign.runtime.postgres import rows_of
from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY
from services.risk_evaluator.model import Assessed, Beliefs, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from asyncpg import Record as Row

    from countersign.contract import AccessAssessed, AccessRequested
    from countersign.policy import PlaceRules
    from countersign.runtime.outbox import Kept
    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Outgoing
    from services.risk_evaluator.model import Forgetting, Lesson

# Longer than any topic that could bring a request or its grant back (the longest keeps 30 days).
KEPT = timedelta(days=40)
SWEPT_ROWS_MAX = 10_000
NO_END = timedelta(0)

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

LOAD_ASSESSED = """
SELECT now() AS now, r.request_id, a.account_id, a.user_id, a.action, a.digest, a.req, a.place,
       a.disputed_at IS NOT NULL AS disputed,
       (SELECT max(f.forgotten_at) FROM forgotten f
         WHERE f.account_id = a.account_id
           AND (f.user_id IS NULL OR f.user_id = a.user_id)
           AND (f.place IS NULL OR f.place = a.place)) AS forgotten_at,
       k.first_used_at, k.last_used_at
  FROM unnest($1::uuid[]) AS r (request_id)
  LEFT JOIN assessment a ON a.request_id = r.request_id
  LEFT JOIN place k ON k.account_id = a.account_id AND k.place = a.place AND k.taught_by = a.user_id
"""

# What was forgotten by now stays so: of what commits meanwhile NOBODY_LEARNS takes care.
# $5: how often at most the last use is written.
LEARN = """
INSERT INTO place AS known (account_id, place, taught_by, first_used_at, last_used_at)
SELECT account_id, place, taught_by, min(granted_at), max(granted_at)
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS l (account_id, place, taught_by, granted_at)
 WHERE NOT EXISTS (SELECT FROM forgotten f
                    WHERE f.account_id = l.account_id
                      AND (f.user_id IS NULL OR f.user_id = l.taught_by)
                      AND (f.place IS NULL OR f.place = l.place)
                      AND f.forgotten_at >= l.granted_at)
 GROUP BY account_id, place, taught_by
 ORDER BY account_id, place, taught_by
    ON CONFLICT (account_id, place, taught_by) DO UPDATE
   SET first_used_at = least(known.first_used_at, excluded.first_used_at),
       last_used_at = greatest(known.last_used_at, excluded.last_used_at)
 WHERE excluded.first_used_at < known.first_used_at
    OR excluded.last_used_at >= known.last_used_at + $5::interval
"""

# A place whose time is over in all is forgotten up to the second before a login that was granted with a code: so that
# login begins its time anew, and grants from before, read again, change nothing.
RENEW = """
WITH over AS (
    DELETE FROM place WHERE (account_id, place, taught_by) IN (
           SELECT k.account_id, k.place, k.taught_by
             FROM place k JOIN unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[])
               AS l (account_id, place, taught_by, granted_at) USING (account_id, place, taught_by)
            WHERE k.first_used_at <= l.granted_at - $5::interval
            ORDER BY k.account_id, k.place, k.taught_by FOR UPDATE OF k) RETURNING account_id, place, taught_by)
INSERT INTO forgotten AS f (account_id, user_id, place, forgotten_at)
SELECT o.account_id, o.taught_by, o.place, max(l.granted_at) - interval '1 second'
  FROM over o JOIN unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[])
    AS l (account_id, place, taught_by, granted_at) USING (account_id, place, taught_by)
 GROUP BY o.account_id, o.taught_by, o.place ORDER BY o.account_id, o.taught_by, o.place
ON CONFLICT (account_id, user_id, place) DO UPDATE SET forgotten_at = greatest(f.forgotten_at, excluded.forgotten_at)
"""

FORGET = """
INSERT INTO forgotten AS f (account_id, user_id, place, forgotten_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
    AS g (account_id, user_id, place, forgotten_at)
 ORDER BY account_id, user_id, place
    ON CONFLICT (account_id, user_id, place) DO UPDATE SET forgotten_at = excluded.forgotten_at
 WHERE excluded.forgotten_at > f.forgotten_at
"""

# Between the two. Whoever learns already and does not see what was forgotten is waited for, and what they wrote is
# found; whoever comes later waits, and sees it. Two that forget take turns.
NOBODY_LEARNS = "LOCK TABLE place IN SHARE ROW EXCLUSIVE MODE"

DROP_FORGOTTEN = """
DELETE FROM place WHERE (account_id, place, taught_by) IN (
       SELECT k.account_id, k.place, k.taught_by
         FROM place k
         JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
           AS g (account_id, user_id, place, forgotten_at)
           ON g.account_id = k.account_id
          AND (g.user_id IS NULL OR g.user_id = k.taught_by)
          AND (g.place IS NULL OR g.place = k.place)
          AND k.last_used_at <= g.forgotten_at
        ORDER BY k.account_id, k.place, k.taught_by
          FOR UPDATE OF k)
"""

SWEEP_ASSESSMENTS = """
DELETE FROM assessment WHERE request_id IN (
       SELECT request_id FROM assessment
        WHERE assessed_at < now() - $1::interval
        LIMIT $2 FOR UPDATE SKIP LOCKED)
"""

SWEEP_PLACES = """
DELETE FROM place WHERE (account_id, place, taught_by) IN (
       SELECT account_id, place, taught_by FROM place
        WHERE $1::interval > interval '0' AND last_used_at <= now() - $1::interval
        LIMIT $2 FOR UPDATE SKIP LOCKED)
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


async def assessed(db: Connection, request_ids: Sequence[UUID]) -> tuple[dict[UUID, Assessed], datetime]:
    """Return our assessments of these requests, and the database's now."""
    rows = await db.fetch(LOAD_ASSESSED, request_ids)
    known = {
        row["request_id"]: Assessed(
            fingerprint=_fingerprint(row),
            place=row["place"],
            disputed=row["disputed"],
            forgotten_at=row["forgotten_at"],
            first_used_at=row["first_used_at"],
            last_used_at=row["last_used_at"],
        )
        for row in rows
        if row["digest"] is not None
    }
    return known, rows[0]["now"]


async def now(db: Connection) -> datetime:
    """Return the database's now."""
    moment: datetime = await db.fetchval("SELECT now()")
    return moment


async def learn(db: Connection, lessons: Sequence[Lesson], life_max: timedelta = NO_END) -> None:
    """Remember places; first and last use are the least and greatest time of all grants, in whatever order.

    A place that was first used `life_max` ago (0: no end) begins anew with the login that is learned.
    """
    columns = (
        [lesson.account_id for lesson in lessons],
        [lesson.place for lesson in lessons],
        [lesson.taught_by for lesson in lessons],
        [lesson.granted_at for lesson in lessons],
    )
    if life_max > NO_END:
        await db.execute(RENEW, *columns, life_max)
    await db.execute(LEARN, *columns, PLACE_WRITTEN_EVERY)


async def forget(db: Connection, forgettings: Sequence[Forgetting]) -> None:
    """Remember until when places are forgotten, and forget them, in one transaction."""
    columns = (
        [forgetting.account_id for forgetting in forgettings],
        [forgetting.user_id for forgetting in forgettings],
        [forgetting.place for forgetting in forgettings],
        [forgetting.forgotten_at for forgetting in forgettings],
    )
    await db.execute(FORGET, *columns)
    await db.execute(NOBODY_LEARNS)
    await db.execute(DROP_FORGOTTEN, *columns)


async def sweep(db: Connection, *, forget_after: timedelta) -> int:
    """Delete some old assessments and idle places; return how many rows."""
    told = (
        await db.execute(SWEEP_ASSESSMENTS, KEPT, SWEPT_ROWS_MAX),
        await db.execute(SWEEP_PLACES, forget_after, SWEPT_ROWS_MAX),
    )
    return sum(rows_of(one) for one in told)


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
