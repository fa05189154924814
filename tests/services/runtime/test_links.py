"""Connections that keep their plans for a while, and those that plan each statement for what it is given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from countersign.runtime.database import pool
from countersign.runtime.database.postgres import Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

MODE = "SHOW plan_cache_mode"


@pytest.fixture
async def kept(servers: Servers) -> AsyncIterator[Link]:
    """Open the connection of due work and of small batches."""
    link = Link(servers.dsn_of("notifier"), "notifier")
    yield link
    await link.close()


async def test_small_batches_keep_their_plans_and_large_ones_do_not(servers: Servers, kept: Link) -> None:
    """A plan for ten rows is a bad one for five hundred, and the other way round."""
    bulk = Link(servers.dsn_of("notifier"), "notifier", keeps_plans=False)
    async with kept.use() as one, bulk.use() as other:
        assert [await one.fetchval(MODE), await other.fetchval(MODE)] == ["force_generic_plan", "auto"]
    await bulk.close()


async def test_plans_are_made_anew_after_a_while(kept: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that was empty when its plan was made is not read whole for ever."""
    said: list[str] = []
    db = await kept.get()
    db.add_query_logger(lambda record: said.append(record.query))
    await (await kept.get()).fetchval("SELECT 1")
    monkeypatch.setattr(pool, "PLANS_KEPT_SECONDS", 0.0)
    await (await kept.get()).fetchval("SELECT 2")
    await asyncio.sleep(0)  # asyncpg tells its loggers in the loop's next round
    assert said == ["SELECT 1", "DISCARD PLANS", "SELECT 2"]
