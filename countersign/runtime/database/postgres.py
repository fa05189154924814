"""Connections to PostgreSQL, and the numbered migrations of a service."""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from functools import partial
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from countersign.runtime.database.budget import POOL_MAX
from countersign.runtime.database.migration_lock import hold_migration_lock, with_free_tables
from countersign.runtime.database.pool import Plans, ServingPool, leave_as_it_is, require_writable
from countersign.runtime.database.stopped_sessions import STOPPED_SECONDS_MAX, end_stopped_sessions
from countersign.runtime.errors import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager
    from importlib.resources.abc import Traversable
    from types import TracebackType

    import structlog

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_SECONDS_MAX = 5.0
STATEMENT_SECONDS_MAX = 30.0
_IDLE_SECONDS_MAX = 300.0
_QUERIES_MAX = 50_000  # a connection is replaced after that many
# A session of a standby reads and refuses every write: of several servers in the address only the primary will do.
_WRITABLE = "read-write"
_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_PLAN_ONCE = {"plan_cache_mode": "force_generic_plan"}
_NUMBERED = re.compile(r"^\d{4}_[a-z0-9_]+\.sql$")


async def open_pool(
    dsn: str, service: str, size_max: int = POOL_MAX, *, parameters: Mapping[str, str] = _NO_PARAMETERS
) -> Pool:
    """Return a pool for routes: few connections a process, as all services share one server.

    `parameters` are set on each connection, beside our own.
    """
    pool: Pool = ServingPool(
        dsn,
        min_size=1,
        max_size=size_max,
        max_queries=_QUERIES_MAX,
        max_inactive_connection_lifetime=_IDLE_SECONDS_MAX,
        loop=None,
        connection_class=asyncpg.Connection,
        record_class=asyncpg.Record,
        timeout=CONNECT_SECONDS_MAX,
        command_timeout=STATEMENT_SECONDS_MAX,
        server_settings={**_server_settings(service), **_PLAN_ONCE, **parameters},
        target_session_attrs=_WRITABLE,
        setup=Plans().renew,
        reset=leave_as_it_is,
    )
    return await pool


async def look_at_server(pool: Pool, seconds: float) -> int:
    """Ask the pool that serves, as a route would, whether it can write; end sessions of ours that were stopped.

    Returns how many sessions were ended. Raises an infrastructure error if the pool cannot write; the connection is
    then closed. Waits that many seconds at most for a connection, and as many for the answer.
    """
    # The time-out is inside: one outside would cancel, and asyncpg then waits for the server before it lets go.
    async with pool.acquire(timeout=seconds) as db, asyncio.timeout(seconds):
        await require_writable(db)
        return await end_stopped_sessions(db)


def _server_settings(service: str) -> dict[str, str]:
    # A server that waits for us inside a transaction gives up: a stopped process holds no locks for longer than it
    # holds its partitions, and whoever waits for one of them gets it before the wait is over. `end_stopped_sessions`
    # does the same inside a statement.
    return {
        "application_name": f"countersign.{service}",
        "search_path": service,
        "timezone": "UTC",
        "jit": "off",
        "idle_in_transaction_session_timeout": f"{STOPPED_SECONDS_MAX * 1_000:.0f}",
        "lock_timeout": "10000",
    }


class Link:
    """A connection of one's own, opened again after the server was away.

    A pool resets a connection on every release: one more round trip for each batch. `keeps_plans`: statements are
    planned once in 10 s and not each time, which is for few rows at a time.
    """

    def __init__(
        self,
        dsn: str,
        service: str,
        *,
        keeps_plans: bool = True,
        parameters: Mapping[str, str] = _NO_PARAMETERS,
    ) -> None:
        self._dsn = dsn
        self._server_settings = {**_server_settings(service), **(_PLAN_ONCE if keeps_plans else {}), **parameters}
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._keeps_plans = keeps_plans
        self._plans = Plans()

    def use(self) -> AbstractAsyncContextManager[Connection]:
        """Lend the connection to one user at a time; one that fails by infrastructure, or is cancelled, is dropped."""
        return _Use(self, self._one_at_a_time)

    async def get(self) -> Connection:
        """Return the open connection. Raises an infrastructure error while the server is away."""
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_SECONDS_MAX,
                command_timeout=STATEMENT_SECONDS_MAX,
                server_settings=self._server_settings,
                target_session_attrs=_WRITABLE,
            )
        if self._keeps_plans:
            await self._plans.renew(self._connection)
        return self._connection

    async def probe(self, seconds: float) -> None:
        """Drop an idle connection whose server takes no writes any more. One in use tells that by itself.

        Raises an infrastructure error, after that many seconds at most.
        """
        if self._connection is not None and not self._one_at_a_time.locked():
            async with asyncio.timeout(seconds), self.use() as db:
                await require_writable(db)

    def drop(self) -> None:
        """Forget a connection that is in doubt; the server rolls its transaction back."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Say goodbye to the server."""
        if self._connection is not None and not self._connection.is_closed():
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await self._connection.close(timeout=2)
        self._connection = None


class _Use:
    """A connection while it is lent. Every batch has several of these, so it is no generator."""

    __slots__ = ("_link", "_one_at_a_time")

    def __init__(self, link: Link, one_at_a_time: asyncio.Lock) -> None:
        self._link = link
        self._one_at_a_time = one_at_a_time

    async def __aenter__(self) -> Connection:
        await self._one_at_a_time.acquire()
        try:
            return await self._link.get()
        except BaseException as error:
            self._give_back(error)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back(error)

    def _give_back(self, error: BaseException | None) -> None:
        try:
            if error is not None and (not isinstance(error, Exception) or kind_of(error) is Kind.INFRASTRUCTURE):
                self._link.drop()
        finally:
            self._one_at_a_time.release()


async def _connect_once(dsn: str, service: str) -> asyncpg.Connection[asyncpg.Record]:
    return await asyncpg.connect(
        dsn,
        timeout=CONNECT_SECONDS_MAX,
        command_timeout=None,  # a migration takes as long as it takes
        server_settings=_server_settings(service),
        target_session_attrs=_WRITABLE,
    )


async def migrate(dsn: str, service: str, log: structlog.typing.FilteringBoundLogger | None = None) -> list[str]:
    """Apply the migrations that the service's schema does not have yet, in order; return their names.

    Each is one transaction with its entry in `migration`; an advisory lock lets one process do it at a time.
    Raises RuntimeError when a migration that was applied has been changed since, and MigrationBusyError.
    """
    connection = await _connect_once(dsn, service)
    applied: list[str] = []
    try:
        await hold_migration_lock(connection, service, log)
        await connection.execute(_MIGRATION_TABLE)
        known = {row["name"]: row["sha256"] for row in await connection.fetch("SELECT name, sha256 FROM migration")}
        for name, sql in migrations_of(service):
            digest = _sha256(sql)
            if name in known:
                if known[name] != digest:
                    raise RuntimeError(f"migration {name} of {service} was changed after it was applied: add a new one")
                continue
            await with_free_tables(name, partial(_apply, connection, name, sql), log)
            applied.append(name)
            if log is not None:
                log.info("migration_applied", migration=name)
        await connection.execute(_LET_OPERATOR_SEE)
    finally:
        await connection.close()
    return applied


async def _apply(connection: asyncpg.Connection[asyncpg.Record], name: str, sql: str) -> None:
    async with connection.transaction():
        await connection.execute(sql)
        await connection.execute("INSERT INTO migration (name, sha256) VALUES ($1, $2)", name, _sha256(sql))


_MIGRATION_TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    name text PRIMARY KEY, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
)
"""

# `countersign doctor` compares what was applied with what this program brings.
_LET_OPERATOR_SEE = "GRANT SELECT ON migration TO operator"


def migrations_of(service: str) -> list[tuple[str, str]]:
    """Return name and text of the runtime's migrations and then the service's own, in order."""
    folders: list[tuple[str, Traversable]] = [
        ("runtime", files("countersign.runtime") / "migrations"),
        (service, files("services") / service / "migrations"),
    ]
    return [
        (f"{owner}/{entry.name.removesuffix('.sql')}", entry.read_text())
        for owner, folder in folders
        if folder.is_dir()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if _NUMBERED.match(entry.name)
    ]


def migration_digests(service: str) -> dict[str, str]:
    """Return the name and the SHA-256 of each migration that a service's schema has to have."""
    return {name: _sha256(sql) for name, sql in migrations_of(service)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
