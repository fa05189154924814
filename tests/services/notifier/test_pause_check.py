"""What is asked before a text leaves: one look for all that leave at a time, however long the database takes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import pytest_asyncio
import structlog

from countersign.runtime.database.postgres import open_pool
from services.notifier.model import Answer, Receipt
from services.notifier.pauses import FRESH_SECONDS, PauseCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
TEXTS = 64  # what a process has on their way at most
SLOW, TOO_SLOW = 0.5, 3.0


@dataclass
class SlowPool:
    """The notifier's own pool, from which a connection is had only after a while."""

    pool: Any
    seconds: float = 0.0
    looks: int = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        self.looks += 1
        await asyncio.sleep(self.seconds)
        async with self.pool.acquire() as db:
            yield db


@pytest_asyncio.fixture(loop_scope="session")
async def slow(servers: Servers) -> AsyncIterator[SlowPool]:
    pool = await open_pool(servers.dsn_of("notifier"), "notifier")
    yield SlowPool(pool)
    await pool.close()


async def asked_by_all(check: PauseCheck, account_id: Any = None) -> set[Receipt | None]:
    """Ask for as many texts as may be on their way, a few milliseconds apart."""

    async def one(number: int) -> Receipt | None:
        await asyncio.sleep(number / 200)
        return await check.held(account_id or uuid4(), "SE")

    return set(await asyncio.gather(*(one(number) for number in range(TEXTS))))


async def test_a_slow_database_is_asked_a_few_times_for_all(slow: SlowPool) -> None:
    """A look that takes longer than it stays fresh serves everybody who waited for it."""
    slow.seconds = SLOW
    assert await asked_by_all(PauseCheck(slow, structlog.get_logger())) == {None}  # type: ignore[arg-type]
    assert 1 <= slow.looks <= 3


async def test_a_database_that_does_not_say_holds_all_of_them(slow: SlowPool) -> None:
    """In the time of two looks at most, one of them for who came late. The next one asks again."""
    slow.seconds = TOO_SLOW
    check = PauseCheck(slow, structlog.get_logger())  # type: ignore[arg-type]
    async with asyncio.timeout(2 * TOO_SLOW):
        assert await asked_by_all(check) == {Receipt(Answer.NOT_SENT, "pause.unknown")}
    assert slow.looks <= 2
    slow.seconds = 0
    await asyncio.sleep(FRESH_SECONDS)
    assert await asked_by_all(check) == {None}


async def test_a_pause_is_seen_by_whoever_asks_after_it(slow: SlowPool) -> None:
    """Within the quarter of a second for which a look stays fresh."""
    check, account_id, pause_id = PauseCheck(slow, structlog.get_logger()), uuid4(), uuid4()  # type: ignore[arg-type]
    assert await check.held(account_id, "SE") is None
    async with slow.pool.acquire() as db:
        await db.execute("INSERT INTO pause (pause_id, account_id) VALUES ($1, $2)", pause_id, account_id)
        try:
            await asyncio.sleep(FRESH_SECONDS)
            assert await check.held(account_id, "SE") == Receipt(Answer.NOT_SENT, "paused")
            assert await check.held(uuid4(), "SE") is None
        finally:
            await db.execute("DELETE FROM pause WHERE pause_id = $1", pause_id)
