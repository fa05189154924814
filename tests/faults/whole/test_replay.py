"""Recorded events folded again by `countersign replay`, topic by topic: nothing is other than before.

What a replay does about events that were missed, and what stops it, is in tests/services/cli/test_replay.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.checker import changes
from tests.support.events import a_client, a_member_set, an_access_requested, clock, outgoing
from tests.support.kafka import eventually, publish
from tests.support.replays import Operator, as_left_by_replays, replaying
from tests.support.traffic import traffic_of
from tests.support.world import READ_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from countersign.runtime.messages.record import Outgoing
    from tests.support.people import Person
    from tests.support.stage import Stage

pytestmark = pytest.mark.servers

BLOCK = 500  # requests at a time: each is decided long before it is stale
LOG_INS = 40
ONE_READER = {
    "risk_evaluator": ("access.requests.v1",),
    "verifier": ("access.assessments.v1", "sms.deliveries.v1"),
    "notifier": ("access.challenges.v1",),
    "enrolment": ("account.members.v1",),
    "exports": ("access.decisions.v1",),
    "gateway": ("account.settings.v1",),
}


@pytest.mark.timeout(600)
async def test_some_hundred_events_replayed(stage: Stage, tmp_path: Path, say: Callable[[str], None]) -> None:
    """Every topic, and every service."""
    await _recorded(stage, people=8, requests=200)
    await _replayed(stage, Operator(stage.fleet, tmp_path), say, ONE_READER, least=200)


@pytest.mark.faults_whole
@pytest.mark.timeout(1800)
async def test_ten_thousand_events_replayed(stage: Stage, tmp_path: Path, say: Callable[[str], None]) -> None:
    """As whole topics and by range; killed in the middle and resumed; with people logging in meanwhile.

    Ten thousand requests, assessments, decisions and members; texts and settings are as many as people have of them.
    """
    operator = Operator(stage.fleet, tmp_path)
    people = await _recorded(stage, people=100, requests=5_000)
    for version in range(3, 138):
        await publish(stage.fleet.servers.kafka, *(_member(person, version) for person in people))
    middle = clock().isoformat()
    await _log_in_in_blocks(stage, people, 5_000)
    await stage.rest()
    before = as_left_by_replays(await stage.look())
    for service, topic in (("risk_evaluator", "access.requests.v1"), ("verifier", "access.assessments.v1")):
        file, found = await operator.plan(service, topic, "--since", middle)
        assert found.chosen == found.without_effect == 5_000
        assert (await operator.run(file))["records"] == 5_000
    await _killed(stage, operator, say)
    assert not changes(before, as_left_by_replays(await stage.rest()))
    await _with_live_log_ins(stage, operator, people, say)
    await _replayed(stage, operator, say, READ_BY, least=10_000)


async def _recorded(stage: Stage, *, people: int, requests: int) -> list[Person]:
    """Let people log in with a code and export, then log in again and again; some have their places forgotten."""
    traffic = await traffic_of(stage.driver, people, parallel=8)
    for _ in range(2):
        for first in range(0, people, 8):
            await asyncio.gather(*(traffic.visit(person) for person in traffic.people[first : first + 8]))
    await _log_in_in_blocks(stage, traffic.people, requests)
    for person in traffic.people:
        await stage.driver.set_member(person, 2)
    for person in traffic.people[::4]:
        await stage.driver.forget_places(person)
    assert not traffic.failures
    return [person for person in traffic.people if person not in traffic.people[::4]]


def _member(person: Person, version: int) -> Outgoing:
    fields = {"account_id": person.account_id, "user_id": person.user_id, "version": version}
    return outgoing(a_member_set(**fields, role="owner", name=f"Ada {version}"))


async def _log_in_in_blocks(stage: Stage, people: Sequence[Person], count: int) -> None:
    for first in range(0, count, BLOCK):
        events = [
            an_access_requested(
                account_id=person.account_id, user_id=person.user_id, client=a_client(ip=person.computer)
            )
            for person in (people[n % len(people)] for n in range(min(BLOCK, count - first)))
        ]
        await publish(stage.fleet.servers.kafka, *(outgoing(event) for event in events))
        for event in events:
            assert (await stage.driver.state(event.request_id))["state"] == "granted"


async def _replayed(
    stage: Stage,
    operator: Operator,
    say: Callable[[str], None],
    readers: Mapping[str, Sequence[str]],
    *,
    least: int,
) -> None:
    """Replay each topic for each of its readers; texts, decisions and tables are as before."""
    before = as_left_by_replays(await stage.rest())
    for service, topics in readers.items():
        for topic in topics:
            recorded = len(before.topic(topic))
            file, found = await operator.plan(service, topic)
            assert found.read == found.chosen == recorded
            assert found.without_effect == recorded - found.unused
            assert found.allowance() == {"unfoldable record": 0}
            assert found.forbidden == {}
            began = monotonic()
            said = await operator.run(file)
            say(f"replayed {topic} for {service}: {said['records']} events, {monotonic() - began:.1f} s")
            assert said["records"] == recorded
            if topic in {"access.requests.v1", "access.assessments.v1", "access.decisions.v1"}:
                assert recorded >= least
    assert not changes(before, as_left_by_replays(await stage.rest()))


async def _killed(stage: Stage, operator: Operator, say: Callable[[str], None]) -> None:
    """End the replaying process by force half-way: what was committed is not folded again, the rest is."""
    file, found = await operator.plan("verifier", "access.assessments.v1")
    running = asyncio.ensure_future(operator.call("run", str(file), "--reason", "a test", "--rate", "1000/s", "--json"))

    async def half_way() -> bool:
        return await _records(stage) > found.chosen // 3

    await eventually(half_way, within=120)
    replay_id = str(await stage.db.fetchval("SELECT replay_id FROM verifier.replay WHERE state = 'running'"))
    os.kill(replaying(replay_id), signal.SIGKILL)
    assert (await running)[0] == 2
    done = await _records(stage)
    assert 0 < done < found.chosen

    async def interrupted() -> bool:
        return (await operator.call("status", replay_id, "--json"))[1][0]["state"] == "interrupted"

    await eventually(interrupted, within=60)
    code, rows, words = await operator.call("resume", replay_id, "--reason", "a test", "--json")
    assert code == 0, words
    assert rows[-1]["records"] == found.chosen
    assert rows[-1]["effects"] == {}
    say(f"killed after {done} of {found.chosen} events; resumed, {rows[-1]['records']} in all, none with an effect")


async def _records(stage: Stage) -> int:
    return int(
        await stage.db.fetchval(
            "SELECT coalesce(sum(p.records), 0) FROM verifier.replay_partition p"
            " JOIN verifier.replay r USING (replay_id) WHERE r.state = 'running'"
        )
    )


async def _with_live_log_ins(
    stage: Stage, operator: Operator, people: Sequence[Person], say: Callable[[str], None]
) -> None:
    """Measure log-ins without a code, alone and while the verifier's and the risk-evaluator's topics are replayed."""
    alone = await _log_in_seconds(stage, people)
    runs: list[asyncio.Future[Any]] = []
    for service, topic in (("verifier", "access.assessments.v1"), ("risk_evaluator", "access.requests.v1")):
        file, _ = await operator.plan(service, topic)
        runs.append(asyncio.ensure_future(operator.run(file, "200/s")))
    await asyncio.sleep(8)
    meanwhile = await _log_in_seconds(stage, people)
    assert not any(run.done() for run in runs)
    say(
        f"log-ins alone {_told(alone)}; during two replays of 200 events a second {_told(meanwhile)}: "
        f"{_median(meanwhile) / _median(alone):.2f} times the median"
    )
    for run in runs:
        await run


async def _log_in_seconds(stage: Stage, people: Sequence[Person]) -> list[float]:
    found = []
    for n in range(LOG_INS):
        person = people[n % len(people)]
        began = monotonic()
        request_id = await stage.driver.ask_login(person, person.computer)
        assert (await stage.driver.state(request_id))["state"] == "granted"
        found.append(monotonic() - began)
    return sorted(found)


def _median(seconds: Sequence[float]) -> float:
    return seconds[len(seconds) // 2]


def _told(seconds: Sequence[float]) -> str:
    return f"{_median(seconds) * 1000:.0f} ms (median), {seconds[int(len(seconds) * 0.95)] * 1000:.0f} ms (95 %)"
