"""The runtime while a server is away: nothing is lost, nothing is done twice, work goes on by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.breakable import Breakable, breakable
from tests.support.frame import running
from tests.support.kafka import eventually, publish, read_topic
from tests.support.toy import Toy, a_toy, decoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.program.machine import Machine

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
async def broken() -> AsyncIterator[Breakable]:
    async with breakable() as found:
        yield found


@pytest.mark.parametrize(
    ("server", "how"),
    [
        ("postgres", "kill"),
        ("postgres", "pause"),
        # `make test` has the services themselves without Kafka, in whole/test_outages.py.
        pytest.param("kafka", "kill", marks=pytest.mark.faults_whole),
        ("kafka", "pause"),
    ],
)
async def test_work_goes_on_by_itself_after_an_outage(broken: Breakable, server: str, how: str) -> None:
    """A server is away for 8 s in the middle of the work: /readyz says so, and every event counts once."""
    toy = await a_toy(broken.servers)
    async with running(toy.service(), toy.settings()) as machine:
        events = [toy.added() for _ in range(400)]
        await publish(toy.servers.kafka, *events[:200])
        await eventually(lambda: _is(toy, "addition", 200))
        if server == "postgres":
            await _break(broken, server, how)
            await publish(toy.servers.kafka, *events[200:])
            await eventually(lambda: _unready(machine), within=20)
            await asyncio.sleep(3)
            await _mend(broken, server, how)
        else:
            await publish(toy.servers.kafka, *events[200:300])
            await _break(broken, server, how)
            await eventually(lambda: _unready(machine), within=20)
            await _mend(broken, server, how)
            await publish(toy.servers.kafka, *events[300:])
        await eventually(lambda: _is(toy, "addition", 400), within=30)
        await eventually(lambda: _is(toy, "outbox", 0), within=30)
        await eventually(lambda: _ready(machine), within=20)
    published = [decoded(record)["id"] for record in await read_topic(toy.servers.kafka, toy.out)]
    assert len(set(published)) == 400


async def _break(broken: Breakable, server: str, how: str) -> None:
    if how == "kill":
        await broken.kill(server)
    else:
        broken.pause(server)


async def _mend(broken: Breakable, server: str, how: str) -> None:
    if how == "kill":
        await broken.start(server)
    else:
        broken.wake(server)


async def _is(toy: Toy, table: str, wanted: int) -> bool:
    return await toy.count(table) == wanted


async def _unready(machine: Machine) -> bool:
    return bool(machine.health.reasons)


async def _ready(machine: Machine) -> bool:
    return not machine.health.reasons
