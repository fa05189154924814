"""Everything is read again from its start: no text, no decision, no row that is other than before."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.checker import changes, rows_gone
from tests.support.events import a_client, an_access_requested, outgoing
from tests.support.kafka import publish
from tests.support.offsets import set_back
from tests.support.traffic import Traffic, traffic_of
from tests.support.world import READ_BY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.support.people import Person
    from tests.support.stage import Stage
    from tests.support.world import World

pytestmark = pytest.mark.servers

BLOCK = 500  # requests at a time: each is decided long before it is stale


@pytest.mark.timeout(180)
async def test_read_again_with_traffic_going_on(stage: Stage, say: Callable[[str], None]) -> None:
    """After some hundred requests, a part of the places forgotten: what is new belongs to newcomers alone."""
    before = await _history(stage, people=16, requests=300)
    newcomers = await traffic_of(stage.driver, people=40)
    await _set_back(stage, newcomers)
    after = await stage.rest()
    say(await _told(stage, before, "with traffic going on"))
    assert not rows_gone(before, after)
    assert not _of_others(before, after, newcomers.people)
    assert newcomers.outcomes["granted"]
    assert not newcomers.failures
    _, found = await stage.checked()
    assert not found, "\n".join(found[:50])


@pytest.mark.faults_whole
@pytest.mark.timeout(900)
async def test_ten_thousand_requests_read_again_at_rest(stage: Stage, say: Callable[[str], None]) -> None:
    """Twice: before and after places are forgotten. Topics, tables and phones are as they were."""
    for forgetting in (False, True):
        before = await _history(stage, people=100, requests=0 if forgetting else 10_000, forgetting=forgetting)
        await _set_back(stage)
        after = await stage.rest()
        say(await _told(stage, before, "after forgetting" if forgetting else "at rest"))
        assert not changes(before, after)


async def _history(stage: Stage, *, people: int, requests: int, forgetting: bool = True) -> World:
    """Let people log in with a code and export, then log in again and again; some have their places forgotten."""
    traffic = await traffic_of(stage.driver, people, parallel=8)
    for _ in range(2):
        for first in range(0, people, 8):
            await asyncio.gather(*(traffic.visit(person) for person in traffic.people[first : first + 8]))
    for first in range(0, requests, BLOCK):
        await _log_in_again(stage, traffic.people, min(BLOCK, requests - first))
    if forgetting:
        for person in traffic.people[::3]:
            await stage.driver.forget_places(person)
    assert not traffic.failures
    return await stage.rest()


async def _log_in_again(stage: Stage, people: Sequence[Person], count: int) -> None:
    events = [
        an_access_requested(account_id=person.account_id, user_id=person.user_id, client=a_client(ip=person.computer))
        for person in (people[n % len(people)] for n in range(count))
    ]
    await publish(stage.fleet.servers.kafka, *(outgoing(event) for event in events))
    for event in events:
        assert (await stage.driver.state(event.request_id))["state"] == "granted"


async def _set_back(stage: Stage, newcomers: Traffic | None = None) -> None:
    """End all services, set their groups back, start them again; newcomers, if any, do not wait for that."""
    await stage.fleet.end_all()
    await set_back(stage.fleet.servers.kafka)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(newcomers.run()) if newcomers else None
        await stage.fleet.start_all()
        if newcomers and running:
            await asyncio.sleep(3)
            newcomers.stop()


async def _told(stage: Stage, before: World, when: str) -> str:
    """Say how much was read again: it must have been all of it."""
    read = 0.0
    for text in (await stage.fleet.metrics()).values():
        lines = [line for line in text.splitlines() if line.startswith("countersign_records_total{")]
        read += sum(float(line.rpartition(" ")[2]) for line in lines)
    lying = sum(len(before.topic(topic)) for topics in READ_BY.values() for topic in topics)
    assert read >= lying
    return f"re-reading {when}: {lying} readings were due, {read:.0f} were made; {len(before.texts)} texts before it"


def _of_others(before: World, after: World, newcomers: Sequence[Person]) -> list[str]:
    """Return what is new on topics and phones and belongs to nobody who is new."""
    keys = {str(person.account_id).encode() for person in newcomers}
    numbers = {person.number for person in newcomers}
    found = [f"a text to {text.number[:6]}…" for text in after.texts[len(before.texts) :] if text.number not in numbers]
    for topic, records in after.records.items():
        known = {(record.partition, record.offset) for record in before.topic(topic)}
        found += [
            f"{topic}/{record.partition}/{record.offset}"
            for record in records
            if (record.partition, record.offset) not in known and record.key not in keys
        ]
    return found
