"""Replays from the command line, on real servers: planned, run, interrupted; and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from countersign import cli
from countersign.runtime.replay.plan import Plan
from deploy.local.checkout import CHECKOUT
from tests.support.events import clock
from tests.support.kafka import eventually
from tests.support.replay_desk import MANY, SERVICE, WHY, Desk, decided, never_decided
from tests.support.replays import replaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


pytestmark = pytest.mark.servers


async def test_what_was_decided_stays_and_what_was_missed_is_denied(desk: Desk) -> None:
    """The plan counts both; the run does just that, once, with a row of who and why; texts and grants are none."""
    await decided(desk, MANY)
    missed = await never_decided(desk, 10)
    before = await desk.tables()
    file = await desk.plan()
    assert await desk.tables() == before
    found = Plan.parsed(file.read_bytes()).found
    assert (found.chosen, found.without_effect, found.forbidden) == (MANY + 10, MANY, {})
    assert found.effects == {"denied request.stale": 10}
    assert found.changes == {"assessment": 10, "outbox": 10}
    assert found.publishes == {"countersign.access.assessed.v1": 10}
    assert found.stale == 10
    code, rows, words = await desk.begin(file, "--rate", "5000/s")
    assert code == 0, words
    assert rows[-1]["state"] == "done"
    assert rows[-1]["records"] == MANY + 10
    after = await desk.tables()
    assert await desk.assessed(missed) == 10
    assert len(after["outbox"]) == 10
    kept = [row for row in after["assessment"] if row["request_id"] not in {one.request_id for one in missed}]
    assert kept == before["assessment"]
    assert {name: rows for name, rows in after.items() if name not in {"assessment", "outbox"}} == {
        name: rows for name, rows in before.items() if name not in {"assessment", "outbox"}
    }
    (row,) = await desk.operations()
    assert (row["command"], row["who"], row["reason"]) == ("replay run", "ann@bastion", "a test")
    assert json.loads(row["outcome"])["state"] == "done"
    code, _, words = await desk.begin(file)
    assert code == 2
    assert "a plan is run once" in words
    again = Plan.parsed((await desk.plan("again.json")).read_bytes()).found
    assert (again.without_effect, again.effects) == (MANY + 10, {})


async def test_the_groups_offsets_are_not_touched(desk: Desk) -> None:
    """Neither the plan nor the run is a member of a group, or commits an offset."""
    await decided(desk, 20)
    admin = AIOKafkaAdminClient(bootstrap_servers=desk.servers.kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"countersign.{SERVICE}")
        groups = await admin.list_consumer_groups()
        code, _, words = await desk.begin(await desk.plan())
        assert code == 0, words
        assert await admin.list_consumer_group_offsets(f"countersign.{SERVICE}") == offsets
        assert sorted(await admin.list_consumer_groups()) == sorted(groups)
    finally:
        await admin.close()


async def test_a_range_a_key_and_a_type_are_chosen(desk: Desk) -> None:
    """By the time of the append, by the producer's own time, by key and by type; the rest is left out."""
    old = await never_decided(desk, 5)
    middle = clock()
    await asyncio.sleep(0.05)
    new = await decided(desk, 5)

    async def chosen(name: str, *more: str) -> int:
        return Plan.parsed((await desk.plan(name, *more)).read_bytes()).found.chosen

    assert await chosen("all", "--until", clock().isoformat()) == 10
    assert await chosen("until", "--until", middle.isoformat()) == 5
    assert await chosen("event", "--by", "event-time") == 5
    assert await chosen("event2", "--by", "event-time", "--until", middle.isoformat()) == 0
    assert await chosen("key", "--key", str(new[0].account_id)) == 1
    assert await chosen("type", "--type", "countersign.access.requested.v1") == 10
    assert not (await desk.plan("other", "--type", "countersign.other.v1", code=2)).exists()
    assert await desk.assessed(old) in {0, 5}


@asynccontextmanager
async def at_work(replay_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the service's own program for a replay, as the command line does."""
    argv = ("-m", f"services.{SERVICE}", "replay-run", str(replay_id))
    quiet = asyncio.subprocess.DEVNULL
    program = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=CHECKOUT, stdout=quiet, stderr=quiet)
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def begun(desk: Desk, file: Path, rate: str) -> tuple[asyncio.Task[Any], str]:
    """Begin a run and wait until it has committed something."""
    running = asyncio.ensure_future(asyncio.to_thread(cli.main, ["replay", "run", str(file), *WHY, "--rate", rate]))

    async def moving() -> bool:
        return bool(await desk.db.fetchval("SELECT sum(records) FROM replay_partition"))

    await eventually(moving, within=60)
    return running, str(await desk.db.fetchval("SELECT replay_id FROM replay"))


async def test_killed_in_the_middle_it_goes_on_where_its_journal_says(desk: Desk) -> None:
    """By force: what was committed is not done again, what was not is; every record counts once."""
    await decided(desk, MANY)
    missed = await never_decided(desk, 20)
    file = await desk.plan()
    running, replay_id = await begun(desk, file, "20/s")
    os.kill(replaying(replay_id), signal.SIGKILL)
    assert await running == 2
    half = int(await desk.db.fetchval("SELECT sum(records) FROM replay_partition"))
    assert 0 < half < MANY + 20

    async def noticed() -> bool:
        return bool((await desk.status())["state"] == "interrupted")

    await eventually(noticed)
    other = await desk.plan("other.json")
    code, _, words = await desk.begin(other)
    assert code == 2
    assert "is running or was interrupted" in words
    await desk.db.execute("UPDATE replay SET rate = 5000")
    code, rows, words = await desk.call("resume", replay_id, "--reason", "goes on", "--json")
    assert code == 0, words
    assert rows[-1]["records"] == MANY + 20
    assert rows[0]["records"] > half
    assert await desk.assessed(missed) == 20
    assert await desk.db.fetchval("SELECT count(*) FROM outbox") == 20
    outcomes = [json.loads(row["outcome"]) for row in await desk.operations()]
    assert outcomes[0]["state"] == "interrupted"
    assert "refused" in outcomes[1]
    assert outcomes[2]["state"] == "done"


async def test_paused_resumed_aborted_and_never_twice_at_once(desk: Desk) -> None:
    """By the journal; a second process finds it taken; each deed has its row."""
    await decided(desk, MANY)
    running, replay_id = await begun(desk, await desk.plan(), "5/s")
    async with at_work(replay_id) as second:
        assert await second.wait() == 2
    assert (await desk.status())["state"] == "running"
    code, _, words = await desk.call("resume", replay_id, "--reason", "too eager")
    assert code == 2
    assert "a process is at work" in words
    code, _, words = await desk.call("pause", replay_id, "--reason", "the peak")
    assert code == 0, words
    assert await running == 1
    paused = await desk.status()
    assert paused["state"] == "paused"
    assert 0 < paused["records"] < MANY
    code, _, words = await desk.call("abort", replay_id, "--reason", "the wrong week")
    assert code == 0, words
    assert (await desk.status())["state"] == "aborted"
    code, _, words = await desk.call("resume", replay_id, "--reason", "after all")
    assert code == 2
    assert "the replay is aborted" in words
    rows = [(row["command"], json.loads(row["outcome"])) for row in await desk.operations()]
    assert [command for command, _ in rows] == [
        "replay run", "replay resume", "replay pause", "replay abort", "replay resume",
    ]  # fmt: skip
    assert rows[0][1]["state"] == "paused"
    assert "refused" in rows[1][1]
