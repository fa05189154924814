"""Every process is killed with -9 at every step of its work, under load; afterwards every invariant holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import SERVICES, Stop
from tests.support.journeys import Journeys
from tests.support.matrix import kill, stops_of, troubles
from tests.support.stage import a_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from tests.support.matrix import Figures

pytestmark = pytest.mark.servers

SELECTION: Mapping[str, Sequence[Stop]] = {
    "risk_evaluator": (Stop("decided"), Stop("committed", 3)),
    "verifier": (Stop("committed"), Stop("answer_read"), Stop("answer_committed", 3), Stop("answer_replied")),
    "notifier": (Stop("texts.claimed"), Stop("texts.acted")),
    "enrolment": (Stop("published"),),
    "exports": (Stop("ask_committed"), Stop("export_file.acted")),
    "gateway": (Stop("committed"),),
}


@pytest.mark.timeout(480)
async def test_all_are_killed_at_once_where_it_hurts(tmp_path: Path, figures: Callable[[str], Figures]) -> None:
    """A selection of points, in all six services at the same time."""
    await _killed(tmp_path, SELECTION, figures("all at once"))


@pytest.mark.faults_whole
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("service", SERVICES)
async def test_killed_at_every_point(tmp_path: Path, figures: Callable[[str], Figures], service: str) -> None:
    """Each point of a service, the first and the third time; the others go on."""
    await _killed(tmp_path, {service: stops_of(service)}, figures(service))


async def _killed(folder: Path, stops: Mapping[str, Sequence[Stop]], figures: Figures) -> None:
    async with a_stage(folder) as stage:
        journeys = Journeys(stage.driver, parallel=16)
        async with asyncio.TaskGroup() as group:
            group.create_task(journeys.run())
            killing = [group.create_task(kill(stage.fleet, service, each, figures)) for service, each in stops.items()]
            missed = [one for task in killing for one in await task]
            journeys.stop()
        world, found = await stage.checked()
        figures.count(world, found)
        assert not found, "\n".join(found[:50])
        assert not missed
        assert not journeys.failures
        assert not troubles(world)
