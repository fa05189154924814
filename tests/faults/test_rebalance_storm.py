"""Members of a group come and go every 2 s: nothing is done twice, nothing is left, and work goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.feeder import Feeder, fed
from tests.support.frame import running
from tests.support.kafka import eventually, read_topic
from tests.support.toy import Adding, Toy, a_toy, decoded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from tests.support.servers import Servers
    from tests.support.toy import Added

pytestmark = pytest.mark.servers

EVERY_SECONDS = 2.0
SHORT_SECONDS = 12
CALM_SECONDS = 4.0  # before a storm, and after a long one, as a machine has moods of its own
CLEARED_SECONDS = 8.0  # a session and a rebalance after the last one left
AHEAD = 8_000  # unread records, so that partitions whose member is gone keep none from the others
PARTITIONS = 12
# Names come back, as those of replicas do. One member stays, so that there is always somebody.
STAYING, COMING = "0", ("1", "2", "3")


@dataclass
class Counted(Adding):
    """An addition that counts what was committed by all members together."""

    committed_count: Counter[str] = field(default_factory=Counter)

    def committed(self, outcomes: Sequence[Added]) -> None:
        self.committed_count["all"] += len(outcomes)


@pytest.mark.timeout(180)
async def test_a_short_storm(servers: Servers, say: Callable[[str], None]) -> None:
    """12 s: nothing twice, nothing lost."""
    await _storm(servers, say, SHORT_SECONDS)


@pytest.mark.faults_whole
@pytest.mark.timeout(900)
async def test_a_storm_of_two_minutes(servers: Servers, say: Callable[[str], None]) -> None:
    """The same, and throughput stays at half of what it is in calm weather, at least."""
    assert await _storm(servers, say, 120) >= 0.5


async def _storm(servers: Servers, say: Callable[[str], None], seconds: float) -> float:
    toy = await a_toy(servers, PARTITIONS)
    fold = Counted(toy.topic, toy.out)
    feeder = Feeder(servers.kafka, toy.added, lambda: _count(fold), AHEAD)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_member(toy, fold, STAYING))
        async with fed(feeder):
            await asyncio.sleep(1)
            before = await _rate(fold, asyncio.sleep(CALM_SECONDS))
            stormy = await _rate(fold, _come_and_go(toy, fold, seconds))
            calm = before
            if seconds > SHORT_SECONDS:
                await asyncio.sleep(CLEARED_SECONDS)
                calm = (before + await _rate(fold, asyncio.sleep(CALM_SECONDS))) / 2
        await eventually(lambda: _has(toy, feeder.made), within=120)
    seen = Counter(decoded(record)["id"] for record in await read_topic(servers.kafka, toy.out))
    say(
        f"rebalance storm of {seconds:.0f} s: {calm:.0f}/s in calm, {stormy:.0f}/s in the storm "
        f"({stormy / calm:.2f}); {feeder.made} records, {seen.total() - len(seen)} published again"
    )
    assert fold.committed_count["all"] >= feeder.made
    assert len(seen) == feeder.made
    assert seen.total() == len(seen), "a member that leaves in order leaves nothing to be published again"
    assert not await toy.count("dead_letter")
    return stormy / calm


def _member(toy: Toy, fold: Adding, instance: str) -> AbstractAsyncContextManager[object]:
    return running(toy.service(fold), toy.settings(instance), ready=instance == STAYING)


async def _come_and_go(toy: Toy, fold: Adding, seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    here: dict[str, AsyncExitStack] = {}
    try:
        for step in range(int(seconds / EVERY_SECONDS)):
            name = COMING[step % len(COMING)]
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(EVERY_SECONDS))
                if name in here:
                    await here.pop(name).aclose()
                else:
                    here[name] = AsyncExitStack()
                    await here[name].enter_async_context(_member(toy, fold, name))
            if asyncio.get_running_loop().time() > until:
                break
    finally:
        for member in here.values():
            await member.aclose()


async def _rate(fold: Counted, weather: Awaitable[object]) -> float:
    began, before = asyncio.get_running_loop().time(), fold.committed_count["all"]
    await weather
    return (fold.committed_count["all"] - before) / (asyncio.get_running_loop().time() - began)


async def _count(fold: Counted) -> int:
    return fold.committed_count["all"]


async def _has(toy: Toy, wanted: int) -> bool:
    return await toy.count() == wanted and not await toy.count("outbox")
