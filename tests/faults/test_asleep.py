"""A process is stopped in the middle of a step for two sessions, another takes over, it wakes up and goes on."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import SERVICES, SESSION_MS, Stop
from tests.support.journeys import Journeys
from tests.support.matrix import ONCE, POINTS, REACHED_WITHIN, troubles
from tests.support.people import a_person
from tests.support.stage import a_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.support.matrix import Figures
    from tests.support.stage import Stage

pytestmark = pytest.mark.servers

TWO_SESSIONS = 2 * SESSION_MS / 1000
# Longer than any claim is in doubt (30 s): whoever wakes finds its text settled by somebody else.
BEYOND_DOUBT = 40.0
TAKEN_OVER_WITHIN = 30.0
# Whose work a login waits for.
BEHIND_A_LOGIN = ("risk_evaluator", "verifier", "notifier")


@dataclass(frozen=True, slots=True)
class Nap:
    """Where a process is stopped, and for how long."""

    point: str
    seconds: float = TWO_SESSIONS

    @property
    def stop(self) -> Stop:
        return Stop(self.point, number=signal.SIGSTOP)


SELECTION = {
    "notifier": (Nap("texts.claimed"),),
    "verifier": (Nap("answer_read"),),
    "risk_evaluator": (Nap("decided"),),
}


@pytest.mark.timeout(300)
async def test_three_sleep_at_once(tmp_path: Path, figures: Callable[[str], Figures]) -> None:
    """With a text claimed, with an answer read and not yet judged, with a transaction open."""
    await _asleep(tmp_path, SELECTION, figures("asleep, three at once"))


@pytest.mark.faults_whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("service", SERVICES)
async def test_asleep_at_every_point(tmp_path: Path, figures: Callable[[str], Figures], service: str) -> None:
    """Each point of a service; texts also for longer than their claim is in doubt."""
    points = [point for point in POINTS[service] if not point.startswith(ONCE)]
    naps = [Nap(point) for point in points]
    naps += [Nap(point, BEYOND_DOUBT) for point in points if point.startswith("texts.")]
    await _asleep(tmp_path, {service: naps}, figures(f"asleep: {service}"))


async def _asleep(folder: Path, naps: Mapping[str, Sequence[Nap]], figures: Figures) -> None:
    async with a_stage(folder) as stage:
        for service in naps:
            await stage.fleet.start(service, "1")
        stage.driver.patience = TAKEN_OVER_WITHIN
        journeys = Journeys(stage.driver, parallel=8)
        async with asyncio.TaskGroup() as group:
            group.create_task(journeys.run())
            sleeping = [group.create_task(_sleep(stage, service, each, figures)) for service, each in naps.items()]
            missed = [one for task in sleeping for one in await task]
            journeys.stop()
        world, found = await stage.checked()
        figures.count(world, found)
        assert not found, "\n".join(found[:50])
        assert not missed
        assert not journeys.failures
        assert not troubles(world)


async def _sleep(stage: Stage, service: str, naps: Sequence[Nap], figures: Figures) -> list[str]:
    """Have a process stopped at each point in turn and woken; return the points that it never came to."""
    fleet, missed = stage.fleet, []
    for nap in naps:
        await fleet.end(service)
        await fleet.start(service, stop=nap.stop)
        figures.points.add(f"{service}:{nap.point}")
        if not await fleet.over(service, "0", nap.stop, REACHED_WITHIN):
            missed.append(f"{service}: {nap.point}")
            continue
        figures.kills += 1
        fleet.route(service, "1")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(nap.seconds))
            if service in BEHIND_A_LOGIN:
                group.create_task(_others_log_in(stage))
        fleet.wake(service)
        fleet.route(service, "0")
    return missed


async def _others_log_in(stage: Stage) -> None:
    """Somebody on any partition gets in while the process sleeps: another one took over."""

    async def log_in() -> None:
        person = await a_person(stage.db, stage.fleet.servers, confirmed=True)
        request_id = await stage.driver.ask_login(person, person.computer)
        assert await stage.driver.finish(person, request_id, seen=0) == "granted"

    async with asyncio.timeout(TAKEN_OVER_WITHIN), asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(log_in())
