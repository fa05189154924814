"""A process that is stopped in the middle of a statement keeps nobody from the rows that it has locked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest

from countersign.runtime.database.postgres import Link, look_at_server, open_pool
from countersign.runtime.database.stopped_sessions import STOPPED_SECONDS_MAX, end_stopped_sessions
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Connection
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

LOCK = "SELECT pg_advisory_xact_lock(731)"
TRY = "SELECT pg_try_advisory_xact_lock(731)"


@asynccontextmanager
async def session(servers: Servers, service: str = "notifier") -> AsyncIterator[Connection]:
    """Open a connection as a service has it."""
    link = Link(servers.dsn_of(service), service)
    try:
        yield await link.get()
    finally:
        link.drop()


async def stop_inside_a_statement(db: Connection, lock: str = LOCK) -> None:
    """Take a lock, and get as far with the next statement as asyncpg gets with its first message."""
    await db.execute("BEGIN")
    await db.execute(lock)
    await db._get_statement("SELECT 1 + $1::int", None)  # type: ignore[union-attr] # noqa: SLF001 - the first half of a query


async def is_over(db: Connection) -> bool:
    """Return True if the session was ended."""
    try:
        await db.fetchval("SELECT 2")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        return True
    return False


async def test_a_session_that_was_stopped_inside_a_statement_lets_its_locks_go(servers: Servers) -> None:
    """The server's own limit, which is between statements, does not end it; the look at the server does."""
    async with session(servers) as stopped, session(servers) as other:
        await stop_inside_a_statement(stopped)
        await asyncio.sleep(STOPPED_SECONDS_MAX + 0.5)
        assert not await other.fetchval(TRY), "the lock is free without us: PostgreSQL ended the session by itself"
        pool = await open_pool(servers.dsn_of("notifier"), "notifier", 1)
        try:
            assert await look_at_server(pool, 3) == 1
            assert await look_at_server(pool, 3) == 0
        finally:
            await pool.close()
        await eventually(lambda: other.fetchval(TRY), within=5)
        assert await is_over(stopped)


async def test_nobody_else_is_ended(servers: Servers) -> None:
    """Not who is at work, who waits between statements, who has just begun one, or another service."""
    async with (
        session(servers) as at_work,
        session(servers) as between,
        session(servers) as begun,
        session(servers, "verifier") as another,
        session(servers) as looking,
    ):
        working = asyncio.ensure_future(at_work.fetchval("SELECT 3 FROM pg_sleep(1)"))
        await between.execute("BEGIN")
        await stop_inside_a_statement(another)
        await asyncio.sleep(0.6)
        await stop_inside_a_statement(begun, "SELECT 4")
        assert await end_stopped_sessions(looking, 0.5) == 0
        assert await working == 3
        assert not any([await is_over(db) for db in (at_work, between, begun, another)])
