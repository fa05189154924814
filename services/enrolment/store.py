"""What the folds read and write: a fixed number of statements a batch, each for all of its events."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from countersign.contract import Summary
from services.enrolment.model import Member, Number, OwnRequest, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    import asyncpg

    from countersign.contract import Role
    from countersign.runtime.database.postgres import Connection
    from services.enrolment.model import Confirmed, Decided, MemberChanged

NOW = "SELECT now()"

# A member makes the account known. In one order, so that two owners of a partition cannot deadlock.
KNOW_ACCOUNTS = """
INSERT INTO account (account_id)
SELECT account_id FROM unnest($1::uuid[]) AS a (account_id)
 ORDER BY account_id
    ON CONFLICT DO NOTHING
"""

# Whoever adds a member, turns two-factor on or changes a number holds the account; read the rest in a later statement.
LOCK_ACCOUNTS = """
SELECT account_id, two_factor FROM account
 WHERE account_id = ANY($1::uuid[])
 ORDER BY account_id
   FOR NO KEY UPDATE
"""

MEMBERS = """
SELECT user_id, account_id, version, role, name, locale, removed_at IS NOT NULL AS removed,
       pending_role, pending_name, pending_locale
  FROM member WHERE user_id = ANY($1::uuid[])
"""

APPROVERS = """
SELECT account_id, role, user_id FROM member
 WHERE account_id = ANY($1::uuid[]) AND role IN ('owner', 'account_manager')
"""

REQUESTS = """
SELECT r.request_id, r.account_id, r.user_id, r.action, r.digest, r.req, r.summary, r.number_id, r.old_number_id,
       r.member_id, r.member_fingerprint, r.new_number_id, r.ip, r.state = 'open' AS open,
       s.request_id IS NOT NULL AS spent
  FROM request r LEFT JOIN spent_grant s ON s.request_id = r.request_id
 WHERE r.request_id = ANY($1::uuid[])
"""

# The predicate guards what the account's lock already does, and the account that a user belongs to where two owners
# meet a user for the first time under different accounts: the first stays.
SAVE_MEMBERS = """
INSERT INTO member (user_id, account_id, version, role, name, locale, removed_at,
                    pending_role, pending_name, pending_locale, pending_since)
SELECT user_id, account_id, version, role, name, locale, CASE WHEN removed THEN $11::timestamptz END,
       pending_role, pending_name, pending_locale, CASE WHEN pending_role IS NOT NULL THEN $11::timestamptz END
  FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::boolean[],
              $8::text[], $9::text[], $10::text[])
    AS m (user_id, account_id, version, role, name, locale, removed, pending_role, pending_name, pending_locale)
 ORDER BY user_id
    ON CONFLICT (user_id) DO UPDATE
   SET version = EXCLUDED.version, role = EXCLUDED.role, name = EXCLUDED.name, locale = EXCLUDED.locale,
       removed_at = EXCLUDED.removed_at, pending_role = EXCLUDED.pending_role, pending_name = EXCLUDED.pending_name,
       pending_locale = EXCLUDED.pending_locale, pending_since = EXCLUDED.pending_since
 WHERE member.version < EXCLUDED.version AND member.account_id = EXCLUDED.account_id
"""

SPEND = """
INSERT INTO spent_grant (request_id, spent_for, spent_at)
SELECT request_id, spent_for, $3 FROM unnest($1::uuid[], $2::text[]) AS s (request_id, spent_for)
 ORDER BY request_id
    ON CONFLICT DO NOTHING
RETURNING request_id
"""

# Most users have no number that waits for its first code: those are told apart without any lock.
CONCERNED = """
SELECT now() AS now, r.request_id, r.account_id, r.user_id, r.action, r.digest, r.req, r.summary, r.number_id,
       r.old_number_id, r.member_id, r.member_fingerprint, r.new_number_id, r.ip, r.state = 'open' AS open,
       s.request_id IS NOT NULL AS spent,
       (SELECT m.account_id FROM member m JOIN phone_number n ON n.user_id = m.user_id AND n.state = 'provided'
         WHERE m.user_id = d.user_id LIMIT 1) AS unconfirmed_in
  FROM unnest($1::uuid[], $2::uuid[]) AS d (request_id, user_id)
  LEFT JOIN request r ON r.request_id = d.request_id
  LEFT JOIN spent_grant s ON s.request_id = r.request_id
"""

NUMBERS = """
SELECT n.number_id, n.user_id, m.account_id, n.state, n.provided_at, n.ended_at
  FROM phone_number n JOIN member m ON m.user_id = n.user_id
 WHERE n.user_id = ANY($1::uuid[])
"""

END_REPLACED = """
UPDATE phone_number SET state = 'replaced', ended_at = $2
 WHERE number_id = ANY($1::uuid[]) AND state = 'confirmed'
"""

CONFIRM = """
UPDATE phone_number n SET state = 'confirmed', confirmed_at = $2
 WHERE number_id = ANY($1::uuid[]) AND state = 'provided'
RETURNING number_id
"""

# Whoever moved the number may not carry the contacts away at once; a longer hold stays.
HOLD_EXPORTS = """
UPDATE member SET exports_held_until = greatest(exports_held_until, $2::timestamptz + $3::interval)
 WHERE user_id = ANY($1::uuid[])
"""

CLOSE_REQUESTS = """
UPDATE request r SET state = c.state, closed_at = $3
  FROM unnest($1::uuid[], $2::text[]) AS c (request_id, state)
 WHERE r.request_id = c.request_id AND r.state = 'open'
"""


async def now_of(db: Connection) -> datetime:
    """Return the database's now: the transaction's."""
    now: datetime = await db.fetchval(NOW)
    return now


async def lock_accounts(db: Connection, account_ids: Iterable[UUID], *, make: bool) -> dict[UUID, bool]:
    """Lock accounts until the end of the transaction and return which have two-factor on; `make` unknown ones."""
    wanted = sorted(set(account_ids))
    if make:
        await db.execute(KNOW_ACCOUNTS, wanted)
    return {row["account_id"]: row["two_factor"] for row in await db.fetch(LOCK_ACCOUNTS, wanted)}


async def members(db: Connection, user_ids: Iterable[UUID]) -> dict[UUID, Member]:
    """Return what is known of these users, removed ones included."""
    return {row["user_id"]: _member(row) for row in await db.fetch(MEMBERS, list(user_ids))}


async def approvers(db: Connection, account_ids: Iterable[UUID]) -> dict[tuple[UUID, Role], set[UUID]]:
    """Return the owners and the account managers of these accounts."""
    found: dict[tuple[UUID, Role], set[UUID]] = {}
    for row in await db.fetch(APPROVERS, list(account_ids)):
        found.setdefault((row["account_id"], row["role"]), set()).add(row["user_id"])
    return found


async def own_requests(db: Connection, request_ids: Iterable[UUID]) -> dict[UUID, OwnRequest]:
    """Return those of these requests that this service made."""
    return {row["request_id"]: _request(row) for row in await db.fetch(REQUESTS, list(request_ids))}


async def save_members(db: Connection, changed: Sequence[MemberChanged], now: datetime) -> None:
    """Store members as they are from now on, and spend the grants that let them in."""
    rows = [change.member for change in changed]
    held = [row.profile for row in rows]
    pending = [row.pending for row in rows]
    await db.execute(
        SAVE_MEMBERS,
        [row.user_id for row in rows],
        [row.account_id for row in rows],
        [row.version for row in rows],
        *_columns(held),
        [row.removed for row in rows],
        *_columns(pending),
        now,
    )
    await spend(db, {change.spent: "manage_member" for change in changed if change.spent is not None}, now)


async def spend(db: Connection, spent_for: dict[UUID, str], now: datetime) -> set[UUID]:
    """Spend grants by their request ids; return those that were not spent before."""
    if not spent_for:
        return set()
    rows = await db.fetch(SPEND, list(spent_for), list(spent_for.values()), now)
    return {row["request_id"] for row in rows}


async def concerned(
    db: Connection, decisions: Sequence[tuple[UUID, UUID]]
) -> tuple[dict[UUID, OwnRequest], set[UUID], datetime]:
    """Return what decisions, by request and user, are to this service, and the transaction's now.

    That is: the requests that it made, and the accounts of users whose number waits for its first code.
    """
    rows = await db.fetch(CONCERNED, [one[0] for one in decisions], [one[1] for one in decisions])
    requests = {row["request_id"]: _request(row) for row in rows if row["request_id"] is not None}
    accounts = {row["unconfirmed_in"] for row in rows if row["unconfirmed_in"] is not None}
    return requests, accounts, rows[0]["now"]


async def numbers(db: Connection, user_ids: Iterable[UUID]) -> dict[UUID, list[Number]]:
    """Return every number that these users ever had."""
    found: dict[UUID, list[Number]] = {}
    for row in await db.fetch(NUMBERS, list(user_ids)):
        found.setdefault(row["user_id"], []).append(Number(**dict(row)))
    return found


async def confirm(db: Connection, confirmed: Sequence[Confirmed], hold: timedelta, now: datetime) -> set[UUID]:
    """Put given numbers in force, each in the place of the one it replaces; return those given until now.

    Exports of a user whose number was replaced are held for `hold`.
    """
    if not confirmed:
        return set()
    replacing = [one for one in confirmed if one.replaces is not None]
    if replacing:
        await db.execute(END_REPLACED, [one.replaces for one in replacing], now)
        await hold_exports(db, [one.user_id for one in replacing], hold, now)
    return {row["number_id"] for row in await db.fetch(CONFIRM, [one.number_id for one in confirmed], now)}


async def hold_exports(db: Connection, user_ids: Sequence[UUID], hold: timedelta, now: datetime) -> None:
    """Hold users' exports for that time from now; a longer hold stays."""
    await db.execute(HOLD_EXPORTS, user_ids, now, hold)


async def close_requests(db: Connection, outcomes: Sequence[Decided], now: datetime) -> None:
    """Close own requests as they were decided."""
    closed = [outcome for outcome in outcomes if outcome.closes is not None]
    if closed:
        await db.execute(CLOSE_REQUESTS, [one.request_id for one in closed], [one.closes for one in closed], now)


def _columns(profiles: Sequence[Profile | None]) -> tuple[list[str | None], list[str | None], list[str | None]]:
    return (
        [None if profile is None else profile.role for profile in profiles],
        [None if profile is None else profile.name for profile in profiles],
        [None if profile is None else profile.locale for profile in profiles],
    )


def _member(row: asyncpg.Record) -> Member:
    held = None if row["role"] is None else Profile(row["role"], row["name"], row["locale"])
    pending = (
        None
        if row["pending_role"] is None
        else Profile(row["pending_role"], row["pending_name"], row["pending_locale"])
    )
    return Member(row["user_id"], row["account_id"], row["version"], held, removed=row["removed"], pending=pending)


def _request(row: asyncpg.Record) -> OwnRequest:
    fields = {name: row[name] for name in _REQUEST_FIELDS}
    return OwnRequest(**(fields | {"summary": Summary.model_validate_json(fields["summary"])}))


_REQUEST_FIELDS = tuple(one.name for one in dataclasses.fields(OwnRequest))
