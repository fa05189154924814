"""The statements about places that are known and places that were forgotten, over a pair of tables.

The service has one pair. A rebuild folds the same records into another one with the same statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY
from services.risk_evaluator.model import Assessed, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from services.risk_evaluator.model import Forgetting, Lesson

NO_END = timedelta(0)

LOAD_ASSESSED = """
SELECT now() AS now, r.request_id, a.account_id, a.user_id, a.action, a.digest, a.req, a.place,
       a.disputed_at IS NOT NULL AS disputed,
       (SELECT max(f.forgotten_at) FROM {forgotten} f
         WHERE f.account_id = a.account_id
           AND (f.user_id IS NULL OR f.user_id = a.user_id)
           AND (f.place IS NULL OR f.place = a.place)) AS forgotten_at,
       k.first_used_at, k.last_used_at
  FROM unnest($1::uuid[]) AS r (request_id)
  LEFT JOIN assessment a ON a.request_id = r.request_id
  LEFT JOIN {place} k ON k.account_id = a.account_id AND k.place = a.place AND k.taught_by = a.user_id
"""

# What was forgotten by now stays so: of what commits meanwhile the trigger `only_unforgotten` takes care.
# $5: how often at most the last use is written.
LEARN = """
INSERT INTO {place} AS known (account_id, place, taught_by, first_used_at, last_used_at)
SELECT account_id, place, taught_by, min(granted_at), max(granted_at)
  FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[]) AS l (account_id, place, taught_by, granted_at)
 WHERE NOT EXISTS (SELECT FROM {forgotten} f
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
    DELETE FROM {place} WHERE (account_id, place, taught_by) IN (
           SELECT k.account_id, k.place, k.taught_by
             FROM {place} k JOIN unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[])
               AS l (account_id, place, taught_by, granted_at) USING (account_id, place, taught_by)
            WHERE k.first_used_at <= l.granted_at - $5::interval
            ORDER BY k.account_id, k.place, k.taught_by FOR UPDATE OF k) RETURNING account_id, place, taught_by)
INSERT INTO {forgotten} AS f (account_id, user_id, place, forgotten_at)
SELECT o.account_id, o.taught_by, o.place, max(l.granted_at) - interval '1 second'
  FROM over o JOIN unnest($1::uuid[], $2::text[], $3::uuid[], $4::timestamptz[])
    AS l (account_id, place, taught_by, granted_at) USING (account_id, place, taught_by)
 GROUP BY o.account_id, o.taught_by, o.place ORDER BY o.account_id, o.taught_by, o.place
ON CONFLICT (account_id, user_id, place) DO UPDATE SET forgotten_at = greatest(f.forgotten_at, excluded.forgotten_at)
"""

FORGET = """
INSERT INTO {forgotten} AS f (account_id, user_id, place, forgotten_at)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
    AS g (account_id, user_id, place, forgotten_at)
 ORDER BY account_id, user_id, place
    ON CONFLICT (account_id, user_id, place) DO UPDATE SET forgotten_at = excluded.forgotten_at
 WHERE excluded.forgotten_at > f.forgotten_at
"""

# Between the two. Whoever learns a place of these accounts already is waited for, and what they wrote is found; whoever
# comes later waits in the trigger, which shares this lock, and sees what was forgotten. Other accounts learn meanwhile.
NOBODY_LEARNS_OF = """
SELECT pg_advisory_xact_lock(hashtextextended(account_id::text, 1347174723))
  FROM (SELECT DISTINCT account_id FROM unnest($1::uuid[]) AS a (account_id) ORDER BY account_id) AS forgotten_of
"""

NOBODY_LEARNS = "LOCK TABLE {place} IN SHARE ROW EXCLUSIVE MODE"

DROP_FORGOTTEN = """
DELETE FROM {place} WHERE (account_id, place, taught_by) IN (
       SELECT k.account_id, k.place, k.taught_by
         FROM {place} k
         JOIN unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[])
           AS g (account_id, user_id, place, forgotten_at)
           ON g.account_id = k.account_id
          AND (g.user_id IS NULL OR g.user_id = k.taught_by)
          AND (g.place IS NULL OR g.place = k.place)
          AND k.last_used_at <= g.forgotten_at
        ORDER BY k.account_id, k.place, k.taught_by
          FOR UPDATE OF k)
"""


@dataclass(frozen=True, slots=True)
class PlaceTables:
    """The names of a pair of tables; both are ours and never come from outside. `alone`: nobody else writes to them."""

    place: str = "place"
    forgotten: str = "forgotten"
    alone: bool = False

    async def assessed(self, db: Connection, request_ids: Sequence[UUID]) -> tuple[dict[UUID, Assessed], datetime]:
        """Return our assessments of these requests, and the database's now."""
        rows = await db.fetch(self._named(LOAD_ASSESSED), request_ids)
        known = {
            row["request_id"]: Assessed(
                fingerprint=Fingerprint(row["account_id"], row["user_id"], row["action"], row["digest"], row["req"]),
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

    async def learn(self, db: Connection, lessons: Sequence[Lesson], life_max: timedelta = NO_END) -> None:
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
            await db.execute(self._named(RENEW), *columns, life_max)
        await db.execute(self._named(LEARN), *columns, PLACE_WRITTEN_EVERY)

    async def forget(self, db: Connection, forgettings: Sequence[Forgetting]) -> None:
        """Remember until when places are forgotten, and forget them, in one transaction."""
        columns = (
            [forgetting.account_id for forgetting in forgettings],
            [forgetting.user_id for forgetting in forgettings],
            [forgetting.place for forgetting in forgettings],
            [forgetting.forgotten_at for forgetting in forgettings],
        )
        await db.execute(self._named(FORGET), *columns)
        if not self.alone:
            await db.execute(NOBODY_LEARNS_OF, columns[0])
        await db.execute(self._named(DROP_FORGOTTEN), *columns)

    async def hold_learners(self, db: Connection) -> None:
        """Let nobody learn of any account until the caller's transaction ends; who reads is not held up."""
        await db.execute(self._named(NOBODY_LEARNS))

    def _named(self, statement: str) -> str:
        return statement.format(place=self.place, forgotten=self.forgotten)


LIVE = PlaceTables()
