"""Wrong clocks: ours change nothing, as time is the database's; a foreign producer's is refused, and named."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from countersign.contract import AccessGranted, from_base64url
from tests.support.clocks import LIBFAKETIME, Clock, how
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.pages import Visitor, add_password, browser
from tests.support.people import a_person
from tests.support.stage import a_stage
from tests.support.traffic import traffic_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.stage import Stage
    from tests.support.world import World

pytestmark = pytest.mark.servers

FAST, SLOW = Clock(300), Clock(-300)
PASSWORD = "correct horse battery staple"
# What an event says of its time and what the broker says of it: far less than any clock here is wrong by.
APART_MAX = timedelta(seconds=60)

ONE_WAY: Mapping[str, Clock] = {
    "risk_evaluator": FAST,
    "verifier": SLOW,
    "notifier": FAST,
    "enrolment": SLOW,
    "exports": FAST,
    "gateway": SLOW,
}
THE_OTHER: Mapping[str, Clock] = {name: Clock(-wrong.seconds) for name, wrong in ONE_WAY.items()}


@pytest.mark.timeout(180)
async def test_each_process_is_five_minutes_wrong(tmp_path: Path, say: Callable[[str], None]) -> None:
    """Three fast, three slow; and a producer that is not ours, both ways."""
    async with a_stage(tmp_path, ONE_WAY) as stage:
        await _nothing_changes(stage, say)
        await _foreign_clocks(stage)


@pytest.mark.faults_whole
@pytest.mark.timeout(180)
@pytest.mark.parametrize("clocks", [THE_OTHER, dict.fromkeys(ONE_WAY, FAST), dict.fromkeys(ONE_WAY, SLOW)])
async def test_wrong_the_other_way_and_all_alike(
    tmp_path: Path, say: Callable[[str], None], clocks: Mapping[str, Clock]
) -> None:
    """Each process both ways; and all together, so that no two of them can agree on a wrong time."""
    async with a_stage(tmp_path, clocks) as stage:
        await _nothing_changes(stage, say)


async def _nothing_changes(stage: Stage, say: Callable[[str], None]) -> None:
    _are_wrong(stage)
    traffic = await traffic_of(stage.driver, people=6)
    for _ in range(3):  # with a code, an export with a code, and again without
        for person in traffic.people:
            assert await traffic.visit(person) == "granted"
    for person in traffic.people:
        assert len(stage.driver.texts(person.number)) == 2
    await _log_in_by_page(stage)
    world, found = await stage.checked()
    assert not found, "\n".join(found)
    late = _apart(world)
    assert not late, late
    assert not [name for name, log in world.written.items() if "producer_clock_wrong" in log]
    wrong = ", ".join(f"{name} {one.seconds:+d} s" for name, one in stage.fleet.clocks.items())
    say(f"clocks wrong by {how()} ({wrong}): {len(world.topic('access.decisions.v1'))} decisions, nothing changed")


def _are_wrong(stage: Stage) -> None:
    """See by what they log that the clocks are wrong; a clock within Python is not the log's."""
    if how() != LIBFAKETIME:
        return
    for service, wrong in stage.fleet.clocks.items():
        at = datetime.fromisoformat(json.loads(stage.fleet.log(service).splitlines()[-1])["timestamp"])
        assert abs((at - clock()).total_seconds() - wrong.seconds) < APART_MAX.total_seconds(), service


async def _log_in_by_page(stage: Stage) -> None:
    """Log in at the gateway with a code, then from the same address without, and stay logged in."""
    person = await a_person(stage.db, stage.fleet.servers, confirmed=True)
    await add_password(stage.db, person, PASSWORD)
    for texts in (1, 1):  # the second time the place is known
        async with browser(person.computer) as http:
            visitor = Visitor(stage.driver, person, http)
            assert await visitor.log_in(PASSWORD) == "/"
            assert await visitor.is_signed_in()
        assert len(stage.driver.texts(person.number)) == texts


def _apart(world: World) -> list[str]:
    """Return events whose ce_time, or whose grant's time, is not the time at which they came to the broker."""
    found = []
    for topic, records in world.records.items():
        for record in records:
            times = {"ce_time": datetime.fromisoformat((record.header("ce_time") or b"").decode()).timestamp()}
            if record.header("ce_type") == AccessGranted.ce_type.encode():
                times["iat"] = json.loads(from_base64url(json.loads(record.value or b"")["grant"].split(".")[1]))["iat"]
            for name, at in times.items():
                if abs(at - record.appended_at.timestamp()) > APART_MAX.total_seconds():
                    found.append(f"{topic}: {name} is {at - record.appended_at.timestamp():+.0f} s off")
    return found


async def _foreign_clocks(stage: Stage) -> None:
    for off, reason in ((timedelta(minutes=-5), "request.stale"), (timedelta(minutes=5), "request.future")):
        person = await a_person(stage.db, stage.fleet.servers, confirmed=True)
        event = an_access_requested(account_id=person.account_id, user_id=person.user_id)
        await stage.driver.upstream.send(outgoing(event, source="shop-of-somebody", at=clock() + off))
        assert (await stage.driver.state(event.request_id))["reason"] == reason
        assert not stage.driver.texts(person.number)
        told = [json.loads(line) for line in stage.fleet.log("risk_evaluator").splitlines() if "_clock_wrong" in line]
        (warning,) = [entry for entry in told if entry["request_id"] == str(event.request_id)]
        assert warning["level"] == "warning"
        assert warning["source"].endswith("shop-of-somebody")
        assert abs(warning["seconds_ahead"] - off.total_seconds()) < APART_MAX.total_seconds() / 2
