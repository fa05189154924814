"""Routes on a pool that has nothing to lend, and on tables that a migration changes under them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from countersign.runtime.database.postgres import open_pool
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web.http import Route, application

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Pool
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Open a pool of two connections."""
    opened = await open_pool(servers.dsn_of("notifier"), "notifier", 2)
    yield opened
    await opened.close()


@pytest.fixture
async def table(pool: Pool) -> AsyncIterator[str]:
    """Make a table of the service's own."""
    name = f"changing_{uuid4().hex}"
    await pool.execute(f"CREATE TABLE {name} (amount integer)")
    await pool.execute(f"INSERT INTO {name} VALUES (7)")
    yield name
    await pool.execute(f"DROP TABLE {name}")


@pytest.fixture
async def client(pool: Pool, table: str) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Serve two routes: one reads in a transaction, the other by the pool itself."""

    async def read(_request: web.Request) -> web.Response:
        async with pool.acquire() as db, db.transaction():
            await db.execute("SELECT 1")
            return web.json_response(await db.fetchval(f"SELECT amount FROM {table}"))

    async def ask(_request: web.Request) -> web.Response:
        return web.json_response(await pool.fetchval("SELECT 1"))

    routes = [Route("GET", "/read", read), Route("GET", "/ask", ask)]
    async with TestClient(TestServer(application(routes, [], metrics=Metrics(), log=structlog.get_logger()))) as client:
        yield client


@pytest.mark.parametrize("path", ["/read", "/ask"])
async def test_a_pool_that_lends_nothing_is_told_and_not_waited_for(
    pool: Pool, client: TestClient[web.Request, web.Application], path: str
) -> None:
    """503 with words and Retry-After, for everybody who waits; then the pool serves as before."""
    async with AsyncExitStack() as held:
        for _ in range(2):
            await held.enter_async_context(pool.acquire())
        async with asyncio.timeout(20):
            answers = await asyncio.gather(*(client.get(path) for _ in range(20)))
        assert {answer.status for answer in answers} == {503}
        assert {answer.headers["Retry-After"] for answer in answers} == {"2"}
        problem = await answers[0].json(content_type=None)
        assert (problem["type"], problem["detail"]) == (
            "urn:countersign:problem:busy",
            "Too many requests wait here; try again in a moment.",
        )
    assert (await client.get(path)).status == 200


async def test_a_migration_under_a_running_service_fails_no_request(
    pool: Pool, table: str, client: TestClient[web.Request, web.Application]
) -> None:
    """A column's type changes: what was prepared before is prepared anew, and the transaction is tried once more."""
    for _ in range(4):  # on each connection of the pool
        answers = await asyncio.gather(*(client.get("/read") for _ in range(2)))
        assert [await answer.json() for answer in answers] == [7, 7]
    await pool.execute(f"ALTER TABLE {table} ALTER COLUMN amount TYPE text")
    answers = await asyncio.gather(*(client.get("/read") for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert [await answer.json() for answer in answers] == ["7"] * 4
