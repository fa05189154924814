"""The loop around due work: what is told and when, and how it ends, on a real server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from countersign.runtime.checkpoint import nothing
from countersign.runtime.database.postgres import Link, open_pool
from countersign.runtime.due_work.due import DueLoop
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.waker import Waker
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.database.postgres import Connection, Pool
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

KILL = "SELECT pg_terminate_backend($1)"


class Once:
    """One piece of due work. The first `failing` commits find their session ended by the server."""

    name = "once"
    every = 0.05
    parallel = 1
    leases = False
    settles_at_once = False

    def __init__(self, killer: Pool, failing: int) -> None:
        self.waker = Waker()
        self.told: list[Sequence[int]] = []
        self.settled = 0
        self._killer = killer
        self._failing = failing
        self._taken = False

    async def take(self, _db: Connection, _limit: int) -> Sequence[int]:
        taken, self._taken = self._taken, True
        return () if taken else (7,)

    async def act(self, item: int) -> int:
        return item

    async def settle(self, db: Connection, done: Sequence[int]) -> Settled[int]:
        self.settled += 1
        if self.settled <= self._failing:
            await self._killer.execute(KILL, await db.fetchval("SELECT pg_backend_pid()"))
        return Settled(done=done)

    def committed(self, done: Sequence[int]) -> None:
        self.told.append(list(done))

    async def is_told(self) -> bool:
        return bool(self.told)


class Nobody:
    """A publisher to whom nothing is handed."""

    def hand(self, due: Sequence[Any]) -> None:
        assert not due


@pytest.fixture
async def killer(servers: Servers) -> AsyncIterator[Pool]:
    pool = await open_pool(servers.dsn_of("notifier"), "notifier", 1)
    yield pool
    await pool.close()


def a_loop(due: Once, dsn: str, metrics: Metrics) -> tuple[DueLoop, list[Link]]:
    links = [Link(dsn, "notifier"), Link(dsn, "notifier")]
    loop = DueLoop(
        due,
        taking=links[0],
        settling=links[1],
        publisher=Nobody(),  # type: ignore[arg-type] # it takes nothing
        health=Health(),
        checkpoint=nothing,
        metrics=metrics,
        log=structlog.get_logger(),
    )
    return loop, links


async def test_due_work_is_told_once_and_after_its_commit(servers: Servers, killer: Pool) -> None:
    """Two commits are lost with their sessions; the third is told and counted."""
    due, metrics = Once(killer, failing=2), Metrics()
    loop, links = a_loop(due, servers.dsn_of("notifier"), metrics)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(loop.run())
        await eventually(due.is_told)
        loop.stop()
        await running
    for link in links:
        await link.close()
    assert (due.settled, due.told) == (3, [[7]])
    assert metrics.registry.get_sample_value("countersign_due_settled_total", {"due": "once"}) == 1


class Untellable(Once):
    """Due work whose results are stored, and whose logging then fails."""

    def committed(self, done: Sequence[int]) -> None:
        super().committed(done)
        raise OSError("no space left where logs are written")


async def test_what_is_committed_is_not_settled_again(servers: Servers, killer: Pool) -> None:
    """Whatever fails after the commit: a second settlement would store and publish the result twice."""
    due, metrics = Untellable(killer, failing=0), Metrics()
    loop, links = a_loop(due, servers.dsn_of("notifier"), metrics)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        running = group.create_task(loop.run())
        await eventually(due.is_told)
        await asyncio.sleep(1.5)
        loop.stop()
        await running
    for link in links:
        await link.close()
    assert (due.settled, due.told) == (1, [[7]])
