"""The gateway's tables: people, sessions, spent grants, tries of passwords, exports asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from services.gateway.model import AskedExport, LoginAttempt, Person, Session, Site, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from countersign.client import BuiltRequest
    from countersign.runtime.database.postgres import Connection, Pool
    from services.gateway.model import Try
    from services.gateway.upstream import ExportOwner

# One statement whether somebody has the address or not, so that both cost the same.
PERSON = """
SELECT now() AS now, p.user_id, p.account_id, p.email, p.name, p.staff, p.password, p.password_nfkc,
       EXISTS (SELECT FROM risk_evaluator.known_place k
                WHERE k.account_id = p.account_id AND k.place::cidr >>= $2::inet) AS place_known
  FROM (SELECT $1::text AS asked) a LEFT JOIN person p ON p.email = a.asked
"""
SESSION = """
SELECT now() AS now, s.site, s.stage, s.user_id, s.request_id, s.req, s.method, s.begun_at, s.used_at, s.form, s.held,
       s.password_at, p.account_id, p.name, p.email, p.staff
  FROM session s JOIN person p USING (user_id)
 WHERE s.id = $1
"""
BEGIN = """
INSERT INTO session (id, site, stage, user_id, request_id, method, ip, form, req, begun_at, used_at, held,
                     password_at, login_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::inet, $8, $9, now(), now(), false, coalesce($10, now()), coalesce($10, now()))
    ON CONFLICT (id) DO NOTHING RETURNING id
"""
# A session that came out of a login a moment ago, and whose secret no browser has shown.
UNHELD = """
SELECT EXISTS (SELECT FROM session
                WHERE id = $1 AND site = $2 AND stage = 'signed_in' AND NOT held AND begun_at > now() - $3::interval)
"""
REHASH = "UPDATE person SET password = $3, password_nfkc = true WHERE user_id = $1 AND password = $2"
# The row of the pending session is the lock: of two pages that finish the same login one gets it.
TAKE_PENDING = (
    "DELETE FROM session WHERE id = $1 AND stage = 'pending' RETURNING user_id, request_id, site, ip, form, begun_at"
)
SPEND = "INSERT INTO spent_grant (jti, spent_at) VALUES ($1, now()) ON CONFLICT DO NOTHING RETURNING jti"
# The bucket is full while its time lies `burst` intervals ahead; a row that comes back has taken its try. Ordered by
# key, so that two tries that share keys cannot deadlock.
TAKE_TRY = """
INSERT INTO password_try AS t (key, full_until)
SELECT key, now() + every FROM unnest($1::bytea[], $2::interval[], $3::int[]) AS a (key, every, burst) ORDER BY key
    ON CONFLICT (key) DO UPDATE
       SET full_until = greatest(t.full_until, now()) + (excluded.full_until - now())
     WHERE greatest(t.full_until, now()) - now()
        <= (SELECT (b.burst - 1) * b.every FROM unnest($1::bytea[], $2::interval[], $3::int[]) AS b (key, every, burst)
             WHERE b.key = t.key)
RETURNING key
"""
WAIT_OF = """
SELECT max(t.full_until - now() - (b.burst - 1) * b.every) AS wait
  FROM unnest($1::bytea[], $2::interval[], $3::int[]) AS b (key, every, burst) JOIN password_try t USING (key)
"""
# Locked in the order in which TAKE_TRY locks them, so that the two cannot deadlock.
GIVE_BACK = """
WITH held AS (
    SELECT t.key, b.every
      FROM unnest($1::bytea[], $2::interval[]) AS b (key, every) JOIN password_try t USING (key)
     ORDER BY t.key FOR UPDATE OF t)
UPDATE password_try t SET full_until = t.full_until - h.every FROM held h WHERE t.key = h.key
"""
REMEMBER_EXPORT = """
INSERT INTO export_asked (export_id, user_id, account_id, session, list_name, format, asked_at)
VALUES ($1, $2, $3, $4, $5, $6, now()) ON CONFLICT DO NOTHING
"""
EXPORTS = """
SELECT export_id, list_name, format, asked_at FROM export_asked
 WHERE session = $1 AND asked_at > now() - $2::interval ORDER BY asked_at DESC, export_id LIMIT 5
"""
ASKED_BY_USER = "SELECT EXISTS (SELECT FROM export_asked WHERE export_id = $1 AND user_id = $2)"
SEED = """
INSERT INTO person (user_id, account_id, email, name, password, staff, password_nfkc)
VALUES ($1, $2, $3, $4, $5, $6, true) ON CONFLICT DO NOTHING
"""
KEPT_EXPORTS = timedelta(hours=1)  # longer than an export can wait and its file can be had


class TryRefusedError(Exception):
    """The tries of a key are used up; `wait` is how long until the next."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__("tries of a password are used up")
        self.wait = wait


async def login_attempt(pool: Pool, email: str, ip: str | None) -> LoginAttempt:
    """Return who has that address, if anybody, and whether their account knows the place."""
    row = await pool.fetchrow(PERSON, email, ip)
    if row is None:
        raise AssertionError("a left join from one row gives one row")
    if row["user_id"] is None:
        return LoginAttempt(None, place_known=False, now=row["now"])
    person = Person(**{name: value for name, value in row.items() if name not in {"now", "place_known"}})
    return LoginAttempt(person, place_known=row["place_known"], now=row["now"])


async def keep_rehashed(pool: Pool, user_id: UUID, old: str, new: str) -> None:
    """Replace a hash by one of the same password in NFKC, unless it was changed meanwhile."""
    await pool.execute(REHASH, user_id, old, new)


async def take_try(pool: Pool, tries: Sequence[Try]) -> None:
    """Count a try against all its keys or none. Raises TryRefusedError."""
    keys, every, burst = _columns(tries)
    async with pool.acquire() as db, db.transaction():
        taken = await db.fetch(TAKE_TRY, keys, every, burst)
        if len(taken) == len(tries):
            return
        wait = await db.fetchval(WAIT_OF, keys, every, burst)
        # The part that was taken is undone with the transaction.
        raise TryRefusedError(max(wait or timedelta(0), timedelta(seconds=1)))


async def give_back(pool: Pool, tries: Sequence[Try]) -> None:
    """Forget a try that was right, or that was never judged."""
    keys, every, _ = _columns(tries)
    await pool.execute(GIVE_BACK, keys, every)


def _columns(tries: Sequence[Try]) -> tuple[list[bytes], list[timedelta], list[int]]:
    return [t.key for t in tries], [t.rate.every for t in tries], [t.rate.burst for t in tries]


async def session_of(pool: Pool, session_id: bytes) -> Session | None:
    """Return the session kept under that SHA-256, whether it still counts or not."""
    row = await pool.fetchrow(SESSION, session_id)
    if row is None:
        return None
    return Session(**{**dict(row), "site": Site(row["site"]), "stage": Stage(row["stage"])})


async def begin_pending(  # noqa: PLR0913 - one argument for each column
    pool: Pool,
    session_id: bytes,
    replaced: bytes,
    site: Site,
    user_id: UUID,
    built: BuiltRequest,
    ip: str | None,
    *,
    form: bytes,
) -> bool:
    """Begin a pending session in the place of whatever the browser held before; return False if it is there already."""
    async with pool.acquire() as db, db.transaction():
        await end(db, replaced)
        row = (session_id, site, Stage.PENDING, user_id, built.request_id, None, ip, form, built.req, None)
        return await db.fetchval(BEGIN, *row) is not None


async def sign_in(pool: Pool, pending: bytes, session_id: bytes, jti: UUID, method: str) -> bool:
    """Spend the login's grant and put a signed-in session in the place of the pending one, or do nothing."""
    async with pool.acquire() as db, db.transaction():
        row = await db.fetchrow(TAKE_PENDING, pending)
        if row is None or row["request_id"] != jti or await db.fetchval(SPEND, jti) is None:
            return False
        place = str(row["ip"] or "") or None
        opened = (session_id, row["site"], Stage.SIGNED_IN, row["user_id"], jti, method, place, row["form"], None)
        await db.execute(BEGIN, *opened, row["begun_at"])  # the password was given when the log-in began
        return True


async def is_unheld(pool: Pool, session_id: bytes, site: Site, within: timedelta) -> bool:
    """Return True for a signed-in session that began within that time and whose secret no browser has shown."""
    return bool(await pool.fetchval(UNHELD, session_id, site, within))


async def end_unheld(pool: Pool, session_id: bytes) -> None:
    """End a session whose secret no browser has shown."""
    await pool.execute("DELETE FROM session WHERE id = $1 AND NOT held", session_id)


async def hold(pool: Pool, session_id: bytes) -> None:
    """Note that a browser has shown the session's secret."""
    await pool.execute("UPDATE session SET held = true WHERE id = $1", session_id)


async def touch(pool: Pool, session_id: bytes) -> None:
    """Note that the session was used."""
    await pool.execute("UPDATE session SET used_at = now() WHERE id = $1", session_id)


async def end(db: Connection | Pool, session_id: bytes) -> None:
    """End a session."""
    await db.execute("DELETE FROM session WHERE id = $1", session_id)


async def remember_export(pool: Pool, export_id: UUID, owner: ExportOwner, list_name: str, file_format: str) -> None:
    """Note an export, so that its page is found again."""
    await pool.execute(
        REMEMBER_EXPORT, export_id, owner.user_id, owner.account_id, owner.session, list_name[:200], file_format
    )


async def exports_of(pool: Pool, session_id: bytes) -> list[AskedExport]:
    """Return the latest exports that this session asked for."""
    return [AskedExport(**dict(row)) for row in await pool.fetch(EXPORTS, session_id, KEPT_EXPORTS)]


async def asked_by_user(pool: Pool, export_id: UUID, user_id: UUID) -> bool:
    """Return True if a session of this user asked for the export within the last hour."""
    return bool(await pool.fetchval(ASKED_BY_USER, export_id, user_id))


async def seed_person(db: Connection, person: Person) -> None:
    """Put a person in, unless they are there."""
    await db.execute(SEED, person.user_id, person.account_id, person.email, person.name, person.password, person.staff)
