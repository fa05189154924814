"""The console's SQL: accounts by e-mail or id, people's addresses, who was refused, and acts that wait for a code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway.console.model import ActDraft

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool

FIND = "SELECT account_id FROM person WHERE email = $1 OR account_id = $2 OR user_id = $2 LIMIT 1"
PEOPLE = "SELECT user_id, name, email FROM person WHERE user_id = ANY($1::uuid[])"

# Of each user the latest request that came to something: nobody is locked who was let in since.
REFUSED = """
SELECT DISTINCT ON (user_id) user_id, at, outcome FROM verifier.activity
 WHERE account_id = $1 AND outcome <> 'challenged' AND at > now() - interval '1 day'
 ORDER BY user_id, at DESC
"""

# A later act takes the place of an earlier one. A session that ended meanwhile gets none.
KEEP = """
INSERT INTO manager_draft (session, request_id, req, kind, account_id, target, name, anywhere, reason, ticket, ip,
                           locale, begun_at)
SELECT s.id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() FROM session s WHERE s.id = $1
    ON CONFLICT (session) DO UPDATE
       SET request_id = excluded.request_id, req = excluded.req, kind = excluded.kind,
           account_id = excluded.account_id, target = excluded.target, name = excluded.name,
           anywhere = excluded.anywhere, reason = excluded.reason, ticket = excluded.ticket, ip = excluded.ip,
           locale = excluded.locale, outcome = NULL, begun_at = excluded.begun_at
     WHERE manager_draft.request_id <> excluded.request_id
"""
DRAFT = """
SELECT request_id, req, kind, account_id, target, name, anywhere, reason, ticket, ip, locale, outcome, begun_at,
       now() AS now
  FROM manager_draft WHERE session = $1
"""
SETTLE = "UPDATE manager_draft SET outcome = $3 WHERE session = $1 AND request_id = $2 AND outcome IS NULL"
DROP = "DELETE FROM manager_draft WHERE session = $1 AND request_id = $2"


async def find(pool: Pool, email: str, some_id: UUID | None) -> UUID | None:
    """Return the account of whoever has the address, or that the id is of."""
    account_id: UUID | None = await pool.fetchval(FIND, email, some_id)
    return account_id


async def people(pool: Pool, user_ids: Collection[UUID]) -> dict[UUID, tuple[str, str]]:
    """Return names and e-mail addresses of those who can log in here."""
    rows = await pool.fetch(PEOPLE, list(user_ids))
    return {row["user_id"]: (row["name"], row["email"]) for row in rows}


async def refused_at(pool: Pool, account_id: UUID) -> dict[UUID, datetime]:
    """Return when users' last requests were refused because of wrong codes, for those whose were."""
    rows = await pool.fetch(REFUSED, account_id)
    return {row["user_id"]: row["at"] for row in rows if row["outcome"] == "locked"}


async def keep_draft(pool: Pool, session: bytes, draft: ActDraft) -> None:
    """Keep an act that waits for its code. The same request again changes nothing."""
    about = (draft.kind, draft.account_id, draft.target, draft.name, draft.anywhere, draft.reason, draft.ticket)
    await pool.execute(KEEP, session, draft.request_id, draft.req, *about, draft.ip, draft.locale)


async def draft_of(pool: Pool, session: bytes) -> ActDraft | None:
    """Return the act that the session has asked for last."""
    row = await pool.fetchrow(DRAFT, session)
    return None if row is None else ActDraft(**dict(row))


async def settle(pool: Pool, session: bytes, request_id: UUID, outcome: str) -> None:
    """Note what came of an act."""
    await pool.execute(SETTLE, session, request_id, outcome)


async def drop(pool: Pool, session: bytes, request_id: UUID) -> None:
    """Forget an act that was given up."""
    await pool.execute(DROP, session, request_id)
