"""Long polls: one query for all, no connection held, and a database that is away is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from countersign.runtime.errors import Kind, kind_of
from services.verifier.waiters import ANSWERED_SECONDS_MAX, Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Pool
    from services.verifier.store_requests import RequestState
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers


@asynccontextmanager
async def looking(verifier: VerifierUnderTest) -> AsyncIterator[tuple[Waiters, Pool, list[str]]]:
    """Lend out waiters on one connection, and the queries that it was asked."""
    asked: list[str] = []

    async def listen(connection: Any) -> None:
        connection.add_query_logger(lambda query: asked.append(query.query))

    dsn = verifier.settings.postgres.dsn.get_secret_value()
    pool = await asyncpg.create_pool(
        dsn, min_size=1, max_size=1, init=listen, server_settings={"search_path": "verifier"}
    )
    waiters = Waiters(pool)
    task = asyncio.get_running_loop().create_task(waiters.run())
    try:
        yield waiters, pool, asked
    finally:
        task.cancel()
        await pool.close()


async def wait(waiters: Waiters, seconds: float) -> RequestState | None:
    """Wait for a request that nobody made."""
    return await waiters.wait(uuid4(), seconds, past_challenged=False, caller="gateway")


async def test_all_who_wait_share_a_query(verifier: VerifierUnderTest) -> None:
    """500 for half a second on one connection: at most one query every 20 ms."""
    async with looking(verifier) as (waiters, _, asked):
        states = await asyncio.gather(*(wait(waiters, 0.5) for _ in range(500)))
        assert states == [None] * 500
        looks = sum("JOIN request r" in query for query in asked)
        assert 2 <= looks <= 27


async def test_without_anybody_nobody_looks(verifier: VerifierUnderTest) -> None:
    """An idle process asks the database nothing."""
    async with looking(verifier) as (waiters, _, asked):
        await wait(waiters, 0)
        asked.clear()
        await asyncio.sleep(0.3)
        assert asked == []


async def test_a_database_that_is_away_is_everybodys_answer(verifier: VerifierUnderTest) -> None:
    """Each who waits gets the failure, and none hangs."""
    async with looking(verifier) as (waiters, pool, _):
        waiting = [asyncio.ensure_future(wait(waiters, 20)) for _ in range(5)]
        await asyncio.sleep(0.1)
        pool.terminate()
        for failed in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(failed, Exception)
            assert kind_of(failed) is Kind.INFRASTRUCTURE
        with pytest.raises(asyncpg.InterfaceError):
            await wait(waiters, 20)


async def test_a_wait_ends_in_its_time_also_if_no_look_does(verifier: VerifierUnderTest) -> None:
    """Somebody else has the connection and does not give it back: that is told, and the place is free again."""
    async with looking(verifier) as (waiters, pool, _), pool.acquire():
        async with asyncio.timeout(ANSWERED_SECONDS_MAX + 10):
            answers = await asyncio.gather(*(wait(waiters, seconds) for seconds in (0, 0.5)), return_exceptions=True)
    assert [kind_of(answer) for answer in answers if isinstance(answer, BaseException)] == [Kind.INFRASTRUCTURE] * 2
    assert waiters._waiting == {}  # noqa: SLF001 - a place that stays taken shows nowhere else


async def test_who_is_let_go_has_what_is_known(verifier: VerifierUnderTest) -> None:
    """A process that stops keeps nobody for the rest of the wait."""
    event, _ = await verifier.challenged(await verifier.member())
    async with looking(verifier) as (waiters, _, _):
        waiting = asyncio.ensure_future(waiters.wait(event.request_id, 50, past_challenged=True, caller="gateway"))
        await asyncio.sleep(0.1)
        waiters.release()
        async with asyncio.timeout(2):
            state = await waiting
    assert state is not None
    assert state.state == "challenged"
