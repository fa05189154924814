"""Why PostgreSQL does not let us in, and whether something that changes sessions stands before it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from countersign.runtime.checkup import Finding, fine, wrong
from countersign.runtime.errors import takes_no_writes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What asking may raise.
POSTGRES_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# What connecting may raise too: ValueError, of an address that cannot be read. Elsewhere it would hide a bug of ours.
POSTGRES_FAILURES = (*POSTGRES_ERRORS, ValueError)
CONNECT_SECONDS_MAX = 4.0
_ROUNDS = 3
_MARK = "countersign.doctor"
_SUBJECT = "PostgreSQL sessions"


def words_of_postgres(error: BaseException) -> tuple[str, str]:  # noqa: PLR0911 - one line an error
    """Return a sentence and what to do for an error of connecting. Neither quotes a password."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f"PostgreSQL does not let us in: {error}", "compare user and password in the DSN with the role's"
        case asyncpg.InvalidCatalogNameError():
            return (
                f"PostgreSQL has no such database: {error}",
                "run deploy/postgres/roles.sql there, or correct the DSN",
            )
        case asyncpg.InsufficientPrivilegeError():
            return f"PostgreSQL refuses: {error}", "run deploy/postgres/roles.sql and the services' `migrate`"
        case asyncpg.TooManyConnectionsError():
            return (
                "PostgreSQL has no connection left",
                "end what holds them (pg_stat_activity), or raise max_connections",
            )
        case asyncpg.CannotConnectNowError():
            return "PostgreSQL is starting or stopping", "wait, and look at its log if that lasts"
        case _ if takes_no_writes(error):
            return (
                "PostgreSQL takes no writes: the server that we reach is a standby or is set to read-only",
                "point the DSN to the primary",
            )
        case asyncpg.UndefinedTableError() | asyncpg.UndefinedColumnError() | asyncpg.InvalidSchemaNameError():
            return f"PostgreSQL has not what this program looks for: {error}", "run the services' `migrate`"
        case asyncpg.PostgresError():
            return f"PostgreSQL does not let us in: {error}", "compare the DSN with the server's settings"
        case ValueError() | asyncpg.ClientConfigurationError():
            return "the DSN cannot be read", "write it as postgresql://user:password@host:port/database"
        case _:
            return (
                f"PostgreSQL does not answer: {type(error).__name__}",
                "see whether it runs and can be reached from here",
            )


@asynccontextmanager
async def plain_session(dsn: str) -> AsyncIterator[Any]:
    """Lend a connection without any settings of ours, so that a pooler lets it in. Raises POSTGRES_FAILURES."""
    db = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS_MAX, command_timeout=CONNECT_SECONDS_MAX)
    try:
        yield db
    finally:
        db.terminate()  # nothing to say goodbye for, and a server that hangs would hold us up


async def session_finding(dsn: str) -> Finding:
    """Return whether a session keeps what is set and prepared in it: try, with a second one in between.

    A pooler in transaction mode gives each transaction another server session. Raises POSTGRES_FAILURES if PostgreSQL
    cannot be reached.
    """
    async with plain_session(dsn) as db, plain_session(dsn) as other:
        try:
            kept, pids = await _tried(db, other)
        except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError, TimeoutError) as error:
            return _transaction_mode(f"a prepared statement was lost ({type(error).__name__})")
    if not kept:
        return _transaction_mode("what is set in a session is gone in its next statement")
    if len(pids) > 1:
        return _transaction_mode("one session is served by several server processes")
    return fine(_SUBJECT, "a session keeps its settings and prepared statements")


async def _tried(db: Any, other: Any) -> tuple[bool, set[int]]:
    """Set something in one session; let another take a server session between its statements; return what is left."""
    pids = set()
    kept = True
    for turn in range(_ROUNDS):
        await db.execute(f"SET {_MARK} = 'turn {turn}'")
        await other.execute("BEGIN")
        try:
            kept = kept and await db.fetchval(f"SELECT current_setting('{_MARK}', true)") == f"turn {turn}"
            pids.add(await db.fetchval("SELECT pg_backend_pid()"))
        finally:
            await other.execute("ROLLBACK")
        await asyncio.sleep(0)
    return kept, pids


def _transaction_mode(why: str) -> Finding:
    return wrong(
        _SUBJECT,
        f"a pooler in transaction mode is in front of PostgreSQL: {why}",
        "connect to PostgreSQL itself or to a pooler in session mode: we use prepared statements, "
        "settings and advisory locks of a session",
    )
