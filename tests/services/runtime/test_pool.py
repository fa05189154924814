"""The pool of the routes: a session that failed by the server is closed, one that failed by its statement is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from countersign.runtime.database.postgres import look_at_server, open_pool
from countersign.runtime.errors import ReadOnlyServerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Pool
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

READ_ONLY = "SET default_transaction_read_only = on"


@pytest.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Open a pool of one connection, so that the next user would get the same."""
    opened = await open_pool(servers.dsn_of("notifier"), "notifier", 1)
    yield opened
    await opened.close()


async def _session(pool: Pool) -> int:
    return int(await pool.fetchval("SELECT pg_backend_pid()"))


async def test_a_session_that_takes_no_writes_is_not_lent_again(pool: Pool) -> None:
    """The write fails once; the next user gets a new session, which writes."""
    first = await _session(pool)
    await pool.execute(READ_ONLY)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await pool.execute("DELETE FROM outbox WHERE false")
    assert await _session(pool) != first
    await pool.execute("DELETE FROM outbox WHERE false")


async def test_readiness_asks_the_pool_and_closes_what_it_finds_unfit(pool: Pool) -> None:
    """The probe fails with the session that serves, and the session is gone."""
    first = await _session(pool)
    await look_at_server(pool, 3)
    await pool.execute(READ_ONLY)
    with pytest.raises(ReadOnlyServerError):
        await look_at_server(pool, 3)
    assert await _session(pool) != first
    await look_at_server(pool, 3)


async def test_readiness_does_not_wait_for_a_pool_that_lends_nothing(pool: Pool) -> None:
    """A pool whose connections are all held is not ready, and the probe says so in its time."""
    async with pool.acquire():
        with pytest.raises(TimeoutError):
            await look_at_server(pool, 0.2)
    await look_at_server(pool, 3)


@pytest.mark.parametrize("error", [ConnectionResetError(), TimeoutError(), asyncpg.InternalClientError("x")])
async def test_a_session_in_doubt_is_not_lent_again(pool: Pool, error: Exception) -> None:
    """What the server answers on such a session may belong to a question before."""
    first = await _session(pool)
    with pytest.raises(type(error)):
        async with pool.acquire():
            raise error
    assert await _session(pool) != first


async def test_a_session_whose_statement_was_wrong_is_kept(pool: Pool) -> None:
    """A refused statement, a lock that was not had and a bug cost no new connection."""
    first = await _session(pool)
    with pytest.raises(asyncpg.UndefinedTableError):
        await pool.execute("SELECT FROM nowhere")
    with pytest.raises(ZeroDivisionError):
        async with pool.acquire():
            raise ZeroDivisionError
    with pytest.raises(asyncpg.LockNotAvailableError):
        async with pool.acquire():
            raise asyncpg.LockNotAvailableError("x")
    with pytest.raises(asyncio.CancelledError):
        async with pool.acquire():
            raise asyncio.CancelledError
    assert await _session(pool) == first
