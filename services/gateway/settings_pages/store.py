"""The settings pages' SQL: drafts, messages, when the password was given, places, activity, other sessions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from services.gateway.settings_pages.decide import ACTIVITY_ROWS_MAX
from services.gateway.settings_pages.model import Activity, Draft, KnownPlace, Message, Said

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool
    from services.gateway.settings_pages.model import DraftPage
    from services.gateway.visitor import Visitor

# A later draft of the same page takes the place of an earlier one. A session that ended meanwhile gets none.
KEEP_DRAFT = """
INSERT INTO settings_draft (session, page, user_id, request_id, needs, number_id, number_hint, steps, forget, begun_at)
SELECT s.id, $2, $3, $4, $5, $6, $7, $8, $9::cidr[], now() FROM session s WHERE s.id = $1
    ON CONFLICT (session, page) DO UPDATE
       SET user_id = excluded.user_id, request_id = excluded.request_id, needs = excluded.needs,
           number_id = excluded.number_id, number_hint = excluded.number_hint, steps = excluded.steps,
           forget = excluded.forget, begun_at = excluded.begun_at
     WHERE settings_draft.request_id <> excluded.request_id
"""
# Before its code is sent: the event that the number was replaced finds it, however soon it is read.
CHANGES_TO = "UPDATE session SET changes_to = $2 WHERE id = $1"
DRAFT = """
SELECT page, user_id, request_id, needs, number_id, number_hint, steps, forget::text[] AS forget, begun_at, now() AS now
  FROM settings_draft WHERE session = $1 AND page = $2
"""
DROP_DRAFT = "DELETE FROM settings_draft WHERE session = $1 AND page = $2 AND request_id = $3"
SAY = """
INSERT INTO settings_message (session, page, kind, said, typed)
SELECT s.id, $2, $3, $4::jsonb, $5 FROM session s WHERE s.id = $1
    ON CONFLICT (session, page) DO UPDATE SET kind = excluded.kind, said = excluded.said, typed = excluded.typed
"""
HEAR = "DELETE FROM settings_message WHERE session = $1 AND page = $2 RETURNING kind, said, typed"
PASSWORD_GIVEN = "UPDATE session SET password_at = now() WHERE id = $1"  # noqa: S105 - SQL, no password
# Last used first; `here` by the address that the session began at, as forgetting a place ends the sessions of it.
PLACES = """
SELECT k.place, min(k.first_used_at) AS first_used_at, max(k.last_used_at) AS last_used_at,
       coalesce((SELECT s.ip FROM session s WHERE s.id = $2) <<= k.place::cidr, false) AS here
  FROM risk_evaluator.known_place k WHERE k.account_id = $1
 GROUP BY k.place ORDER BY last_used_at DESC, k.place
"""
ACTIVITY = """
SELECT at, place, action, outcome, challenge_id FROM verifier.activity
 WHERE account_id = $1 AND user_id = $2 ORDER BY at DESC, challenge_id LIMIT $3
"""
OPEN_CHALLENGES = """
SELECT challenge_id FROM verifier.activity
 WHERE account_id = $1 AND user_id = $2 AND outcome = 'challenged' AND challenge_id IS NOT NULL
   AND at > now() - interval '1 hour'
"""
END_OTHERS = """
WITH gone AS (SELECT id FROM session WHERE user_id = $1 AND id <> $2 ORDER BY id FOR UPDATE)
DELETE FROM session WHERE id IN (SELECT id FROM gone) RETURNING id
"""


async def keep_draft(pool: Pool, session: bytes, draft: Draft) -> None:
    """Keep what was begun; `begun_at` and `now` are the database's. The same request again changes nothing."""
    async with pool.acquire() as db, db.transaction():
        await db.execute(
            KEEP_DRAFT,
            session,
            draft.page,
            draft.user_id,
            draft.request_id,
            draft.needs,
            draft.number_id,
            draft.number_hint,
            draft.steps,
            list(draft.forget),
        )
        if draft.needs == "confirm_number":
            await db.execute(CHANGES_TO, session, draft.number_id)


async def draft_of(pool: Pool, session: bytes, page: DraftPage) -> Draft | None:
    """Return what the session has begun on a page."""
    row = await pool.fetchrow(DRAFT, session, page)
    return None if row is None else Draft(**{**dict(row), "forget": tuple(row["forget"])})


async def drop_draft(pool: Pool, session: bytes, draft: Draft) -> None:
    """Forget a draft that is finished or given up, unless another took its place."""
    await pool.execute(DROP_DRAFT, session, draft.page, draft.request_id)


async def say(pool: Pool, visitor: Visitor, page: str, message: Message) -> None:
    """Keep what the page says when it is shown next."""
    said = json.dumps([[one.text, one.href] for one in message.said])
    typed = visitor.seal(json.dumps(dict(message.typed))) if message.typed else None
    await pool.execute(SAY, visitor.session_id, page, message.kind, said, typed)


async def hear(pool: Pool, visitor: Visitor, page: str) -> Message | None:
    """Return what the page has to say, once."""
    row = await pool.fetchrow(HEAR, visitor.session_id, page)
    if row is None:
        return None
    typed = json.loads(visitor.unseal(row["typed"])) if row["typed"] is not None else {}
    said = tuple(Said(text, href) for text, href in json.loads(row["said"]))
    return Message(kind=row["kind"], said=said, typed=typed)


async def password_given(pool: Pool, session: bytes) -> None:
    """Note that the session's user has given the password now."""
    await pool.execute(PASSWORD_GIVEN, session)


async def places_of(pool: Pool, account_id: UUID, session: bytes) -> list[KnownPlace]:
    """Return every place that the account knows, last used first."""
    return [KnownPlace(**dict(row)) for row in await pool.fetch(PLACES, account_id, session)]


async def activity_of(pool: Pool, account_id: UUID, user_id: UUID) -> list[Activity]:
    """Return the latest requests of a user."""
    return [Activity(**dict(row)) for row in await pool.fetch(ACTIVITY, account_id, user_id, ACTIVITY_ROWS_MAX)]


async def open_challenges(pool: Pool, account_id: UUID, user_id: UUID) -> list[UUID]:
    """Return the challenges of a user that have no decision yet."""
    return [row["challenge_id"] for row in await pool.fetch(OPEN_CHALLENGES, account_id, user_id)]


async def end_others(pool: Pool, user_id: UUID, session: bytes) -> int:
    """End every session of a user but this one; return how many that were."""
    return len(await pool.fetch(END_OTHERS, user_id, session))
