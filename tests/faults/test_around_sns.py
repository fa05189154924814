"""The notifier is killed with -9, again and again, while 64 texts are on their way to SNS: none leaves twice."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from deploy.local.process import free_ports
from tests.support.breakable import breakable
from tests.support.kafka import eventually, read_topic
from tests.support.notifier import Challenge, Neighbourhood, a_neighbourhood, a_policy, environment_of
from tests.support.nursery import a_nursery
from tests.support.sns_stand_in import SnsStandIn, sns_stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.nursery import Nursery

pytestmark = pytest.mark.servers

IN_FLIGHT = 64  # what a process has at most
PROVIDER_SECONDS = 0.4
SLOW_PROVIDER_SECONDS = 3.0
PROCESSES = 2
MOMENTS = 25  # from all in flight to all answered
WAITING = 600  # texts that are due: more than all processes can have in flight
TEXTS_EACH = 3  # to one person; each may ask for all of them again within the limit of an hour
SETTLED_WITHIN = 40.0
RESENT_WITHIN = 15.0
LIVE_WITHIN = 60.0


@dataclass
class Run:
    """What stands around the killed: a stand-in for SNS each, so that each one's texts in flight are known."""

    near: Neighbourhood
    nursery: Nursery
    ports: Sequence[int]
    stand_ins: Sequence[SnsStandIn]
    challenges: list[Challenge] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)

    def code(self) -> str:
        """Return a code that no other text has."""
        return f"{next(self._numbers):08d}"

    async def feed(self, number: int) -> list[Challenge]:
        """Issue so many challenges, each with a code of its own."""
        made: list[Challenge] = []
        while len(made) < number:
            person = await self.near.person()
            texts = min(TEXTS_EACH, number - len(made))
            made += [self.near.challenge(person, life=3600, code=self.code()) for _ in range(texts)]
        self.challenges += made
        await self.near.issue(*made)
        return made

    async def states(self) -> Counter[str]:
        """Return how many texts are in which state."""
        rows = await self.near.db.fetch("SELECT state, count(*) AS n FROM notifier.dispatch GROUP BY state")
        return Counter({row["state"]: row["n"] for row in rows})

    async def feed_while(self, killing: Callable[[], bool]) -> None:
        """Keep enough texts waiting."""
        while killing():
            states = await self.states()
            if states["due"] + len(self.challenges) - states.total() < WAITING:
                await self.feed(WAITING)
            await asyncio.sleep(0.2)

    async def start(self, index: int) -> int:
        """Start a process."""
        port, sns = self.ports[index], self.stand_ins[index]
        return await self.nursery.start(INSTANCE=f"k{index}", HEALTH__PORT=str(port), SNS__ENDPOINT_URL=sns.url)

    async def kill_in_flight(self, index: int, kills: int) -> None:
        """Kill one process so often, each time at a moment at which it has all it can have in flight."""
        for number in range(kills):
            pid = await self.start(index)
            await self.in_flight(index)
            await asyncio.sleep(PROVIDER_SECONDS * (number % MOMENTS) / MOMENTS)
            assert await self.nursery.kill(pid) == -signal.SIGKILL
            await asyncio.sleep(PROVIDER_SECONDS)  # until nothing of it is in flight any more

    async def in_flight(self, index: int) -> None:
        """Wait until a process has as many texts on their way as it can have."""
        async with asyncio.timeout(LIVE_WITHIN):
            while self.stand_ins[index].in_flight < IN_FLIGHT:  # noqa: ASYNC110 - a stand-in sets no event
                await asyncio.sleep(0.01)

    async def nothing_is_in_flight(self) -> bool:
        """Tell whether every text that is on its way has been answered."""
        return not any(sns.in_flight for sns in self.stand_ins)

    async def nothing_is_due(self) -> bool:
        """Tell whether every text was claimed at least once."""
        states = await self.states()
        return not states["due"] and states.total() == len(self.challenges)

    def arrived(self) -> Counter[str]:
        """Return how often a text with each code arrived at any stand-in."""
        return Counter(text.code for sns in self.stand_ins for text in sns.publishes)


@pytest.mark.timeout(300)
async def test_ten_kills_around_sns(tmp_path: Path, say: Callable[[str], None]) -> None:
    """A selection."""
    await _killed(tmp_path, 10, say)


@pytest.mark.faults_whole
@pytest.mark.timeout(2400)
async def test_a_thousand_kills_around_sns(tmp_path: Path, say: Callable[[str], None]) -> None:
    """No text twice, every doubt an `unknown`, nothing stuck."""
    await _killed(tmp_path, 1_000, say)


async def _killed(folder: Path, kills: int, say: Callable[[str], None]) -> None:
    began = monotonic()
    async with AsyncExitStack() as stack:
        stand_ins = [await stack.enter_async_context(sns_stand_in()) for _ in range(PROCESSES)]
        broken = await stack.enter_async_context(breakable())
        near = await stack.enter_async_context(a_neighbourhood(broken.servers, stand_ins[0].url))
        near.policy_file = a_policy(folder, gap="PT0S", number_hourly_max=2 * TEXTS_EACH, countries=None)
        settings = environment_of(near, folder) | {"LOG_LEVEL": "WARNING"}
        nursery = await stack.enter_async_context(a_nursery("notifier", folder / "notifier.log", **settings))
        run = Run(near, nursery, free_ports(PROCESSES), stand_ins)
        for sns in stand_ins:
            sns.seconds = PROVIDER_SECONDS
        async with asyncio.TaskGroup() as group:
            deaths = [group.create_task(run.kill_in_flight(i, kills // PROCESSES)) for i in range(PROCESSES)]
            group.create_task(run.feed_while(lambda: not all(death.done() for death in deaths)))
        killing = monotonic() - began
        await _resent_at_once(run, say)
        await _checked(run)
        rows = await run.states()
        say(
            f"around SNS: {kills} kills in {killing:.0f} s, {rows.total()} texts, {rows['accepted']} accepted, "
            f"{rows['unknown']} unknown, {run.arrived().total()} arrived, 0 of them twice"
        )


async def _resent_at_once(run: Run, say: Callable[[str], None]) -> None:
    """Those whose text was lost on the way ask for another: it comes while the first one is still in doubt."""
    pid = await run.start(0)
    await eventually(run.nothing_is_due, within=LIVE_WITHIN)
    await eventually(run.nothing_is_in_flight, within=LIVE_WITHIN)
    for sns in run.stand_ins:
        sns.seconds = SLOW_PROVIDER_SECONDS
    lost = await run.feed(IN_FLIGHT)
    await run.in_flight(0)
    assert await run.nursery.kill(pid) == -signal.SIGKILL
    again = [run.near.resent(one, run.code()) for one in lost]
    run.challenges += again
    for index in range(PROCESSES):
        await run.start(index)
    began = monotonic()
    await run.near.issue(*again)
    codes = {one.code for one in again}
    async with asyncio.timeout(RESENT_WITHIN):
        while not codes <= run.arrived().keys():  # noqa: ASYNC110 - a stand-in sets no event
            await asyncio.sleep(0.02)
    took = monotonic() - began
    assert {await run.near.state(one) for one in lost} == {"claimed"}
    say(f"around SNS: {len(again)} texts asked for again left within {took:.1f} s, the start of a process included")


async def _checked(run: Run) -> None:
    """Wait until nothing is open, and compare SNS with the tables and with what Kafka was told."""

    async def is_settled() -> bool:
        return await run.nothing_is_due() and not (await run.states())["claimed"]

    await eventually(is_settled, within=SETTLED_WITHIN + LIVE_WITHIN)
    arrived = run.arrived()
    assert max(arrived.values()) == 1
    rows = {
        (row["challenge_id"], row["send"]): row
        for row in await run.near.db.fetch(
            "SELECT challenge_id, send, state, extract(epoch FROM settled_at - claimed_at)::float8 AS seconds "
            "FROM notifier.dispatch"
        )
    }
    states = {challenge.code: rows[challenge.key]["state"] for challenge in run.challenges}
    assert set(states.values()) <= {"accepted", "unknown"}
    assert {code for code, state in states.items() if state == "accepted"} <= arrived.keys() <= states.keys()
    assert max(row["seconds"] for row in rows.values()) < SETTLED_WITHIN
    assert await _told(run) == {(str(challenge_id), send): row["state"] for (challenge_id, send), row in rows.items()}


async def _told(run: Run) -> dict[tuple[str, int], str]:
    """Return what sms.deliveries says of each text: the last word of its type."""
    told = {}
    for record in await read_topic(run.near.servers.kafka, "sms.deliveries.v1"):
        delivery = json.loads(record.value or b"{}")
        kind = (record.header("ce_type") or b"").decode()
        told[delivery["challenge_id"], delivery["send"]] = kind.split(".")[2]
    return told
