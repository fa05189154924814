"""Servers go away under load and come back: nobody gets in wrongly, nothing is lost, work goes on by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import SERVICES
from tests.support.kafka import eventually
from tests.support.people import a_person
from tests.support.traffic import traffic_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
    from uuid import UUID

    from tests.support.stage import Stage
    from tests.support.traffic import Traffic

pytestmark = pytest.mark.servers

GOES_ON_WITHIN = 10.0
TOLD_WITHIN = 15.0  # the slowest look at a server is every 5 s, and waits 5 s for its answer
TAKEN_IN = "SELECT count(*) FROM verifier.request WHERE request_id = ANY($1::uuid[])"

# Who cannot work without it. SNS is the notifier's alone.
NEEDED_BY: dict[str, Collection[str]] = {"kafka": SERVICES, "postgres": SERVICES, "sns": ("notifier",)}


@dataclass
class Seen:
    """What an outage looked like, in seconds: until every /readyz said so, until all was well again."""

    told: float = 0.0
    first_login: float = 0.0
    caught_up: float = 0.0
    ready: float = 0.0
    wrongly: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"told after {self.told:.1f} s; after the return: a login with its text {self.first_login:.1f} s, "
            f"all requests taken in {self.caught_up:.1f} s, all ready {self.ready:.1f} s"
        )


@pytest.mark.timeout(240)  # coming to rest may take 120 s
@pytest.mark.parametrize("server", ["kafka", "postgres", "sns"])
async def test_away_for_ten_seconds(stage: Stage, say: Callable[[str], None], server: str) -> None:
    """Kafka and PostgreSQL are killed with -9, SNS takes no connections; all come back after 10 s."""
    await _away(stage, say, server, 10)


@pytest.mark.faults_whole
@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", ["kafka", "postgres", "sns"])
async def test_away_for_ninety_seconds(stage: Stage, say: Callable[[str], None], server: str) -> None:
    """Longer than the watchdog waits for progress: it ends nobody who waits for a server."""
    await _away(stage, say, server, 90)


@pytest.mark.faults_whole
@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", ["postgres", "kafka"])
async def test_frozen_for_ten_seconds(stage: Stage, say: Callable[[str], None], server: str) -> None:
    """Connections stay open and nobody answers."""
    await _away(stage, say, server, 10, how="freeze")


async def _away(stage: Stage, say: Callable[[str], None], server: str, seconds: float, how: str = "kill") -> None:
    traffic = await traffic_of(stage.driver, people=120)
    newcomer = await a_person(stage.db, stage.fleet.servers, confirmed=True)
    stage.driver.patience = seconds + 2 * GOES_ON_WITHIN  # a further text costs a wait of 30 s
    async with _under_load(traffic):
        await asyncio.sleep(2)
        await _take(stage, server, how)
        seen = await _while_away(stage, server, seconds)
        await _give_back(stage, server, how)
        asked = list(stage.driver.requests)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(_timed(traffic.visit(newcomer)))
            group.create_task(_note(seen, "caught_up", eventually(lambda: _taken_in(stage, asked), within=60)))
            group.create_task(_note(seen, "ready", eventually(lambda: _all_ready(stage), within=60)))
        seen.first_login = first.result()
    say(f"{server} away ({how}) for {seconds:.0f} s: {seen}; {dict(traffic.outcomes)}")
    world, found = await stage.checked()
    assert not found, "\n".join(found[:50])
    assert not seen.wrongly
    assert not traffic.failures
    assert not stage.fleet.ended(), "the watchdog ends nobody who waits for a server"
    dead = [row for name, rows in world.tables.items() if name.endswith(".dead_letter") for row in rows]
    assert not [row for row in dead if row["state"] == "new"]
    assert max(seen.first_login, seen.caught_up, seen.ready) <= GOES_ON_WITHIN, str(seen)


@asynccontextmanager
async def _under_load(traffic: Traffic) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(traffic.run())
        try:
            yield
        finally:
            traffic.stop()


async def _take(stage: Stage, server: str, how: str) -> None:
    if server == "sns":
        await stage.sns.go()
    elif how == "kill":
        await stage.broken.kill(server)
    else:
        stage.broken.pause(server)


async def _give_back(stage: Stage, server: str, how: str) -> None:
    if server == "sns":
        await stage.sns.come()
    elif how == "kill":
        await stage.broken.start(server)
    else:
        stage.broken.wake(server)


async def _while_away(stage: Stage, server: str, seconds: float) -> Seen:
    """Watch every /readyz: those who need the server say so and go on saying so, the others say nothing of it."""
    seen, begun = Seen(), _now()
    needing = {f"{service}-0" for service in NEEDED_BY[server]}
    while _now() - begun < seconds:
        told = await stage.fleet.readiness()
        unready = {name for name, reasons in told.items() if any(_is_about(server, reason) for reason in reasons)}
        if not seen.told and unready >= needing:
            seen.told = _now() - begun
        elif seen.told and not unready >= needing:
            seen.wrongly.append(f"{sorted(needing - unready)} are ready again while {server} is away")
        seen.wrongly += [f"{name} misses {server} and needs it not" for name in unready - needing]
        await asyncio.sleep(0.25)
    if not seen.told or seen.told > TOLD_WITHIN:
        seen.wrongly.append(f"nobody was told by {sorted(needing - unready)} that {server} is away")
    return seen


def _is_about(server: str, reason: str) -> bool:
    """Reasons are named by their server: `kafka`, `kafka.consumer`, `postgres`, `sns`."""
    return reason.partition(".")[0] == server


async def _taken_in(stage: Stage, asked: Sequence[UUID]) -> bool:
    return bool(await stage.db.fetchval(TAKEN_IN, asked) == len(asked))


async def _all_ready(stage: Stage) -> bool:
    told = await stage.fleet.readiness()
    return len(told) == len(SERVICES) and not any(told.values())


async def _timed(work: Awaitable[object]) -> float:
    begun = _now()
    await work
    return _now() - begun


async def _note(seen: Seen, name: str, work: Awaitable[object]) -> None:
    setattr(seen, name, await _timed(work))


def _now() -> float:
    return asyncio.get_running_loop().time()
