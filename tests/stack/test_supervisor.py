"""What the supervisor owes: what dies comes back, and nothing outlives it."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from deploy.local import seeds
from deploy.local.stack import stage_of
from deploy.local.transcript import perform
from tests.support.kafka import eventually
from tests.support.stack import RunningStack, new_layout, starting_stack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deploy.local.layout import Layout

pytestmark = pytest.mark.timeout(400)


def _alive(pids: Iterable[int]) -> set[int]:
    """Return those of `pids` that run; a zombie does not."""
    found = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.add(pid)
    return found


def _family(pids: Iterable[int]) -> set[int]:
    """Return `pids` and all their descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(entry.name))
    found, open_ends = set(), list(pids)
    while open_ends:
        pid = open_ends.pop()
        found.add(pid)
        open_ends += parents.get(pid, [])
    return found


async def _ready(stack: RunningStack, service: str) -> bool:
    url = stack.layout.url(f"{service} health")
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_a_stack_restarts_what_dies_keeps_its_data_and_leaves_nobody(stack: RunningStack) -> None:
    """One stack through its whole life, as each start takes a while; another runs beside it untouched."""
    before = stack.pids
    with new_layout() as layout:
        await _whole_life(layout)
    assert stack.pids == before
    assert _alive(before.values()) == set(before.values())


async def _whole_life(layout: Layout) -> None:
    with starting_stack(layout) as stack:
        await stack.wait_up()
        first = stack.env
        await _is_restarted(stack, "risk_evaluator")
        await _is_restarted(stack, "kafka")
        await perform(stage_of(stack.env), print)
        everybody = _family([stack.supervisor.pid])
        assert set(stack.pids.values()) <= everybody
        assert stack.end() == 0
        assert not stack.layout.stack_env.exists()
        assert not _alive(everybody)
    with starting_stack(layout) as stack:
        await stack.wait_up()
        again = stack.env
        told = {name for name in first if name.startswith("DEMO_")} | {"SERVICE_TOKEN"}
        assert {name: again[name] for name in told} == {name: first[name] for name in told}
        everybody = _family([stack.supervisor.pid])
        stack.supervisor.kill()
        stack.supervisor.wait()

        async def nobody() -> bool:
            return not _alive(everybody)

        await eventually(nobody, within=30)


async def _is_restarted(stack: RunningStack, name: str) -> None:
    before = stack.pids
    os.kill(before[name.upper()], signal.SIGKILL)

    async def back() -> bool:
        return stack.pids[name.upper()] != before[name.upper()]

    await eventually(back, within=60)
    assert {key: pid for key, pid in stack.pids.items() if key != name.upper()} == {
        key: pid for key, pid in before.items() if key != name.upper()
    }
    if name not in {"sns", "kafka", "postgres"}:
        assert await _ready(stack, name)
    assert "starting it again" in stack.printed


@pytest.mark.parametrize("taken", ["ports", "folder"])
async def test_what_is_taken_is_told_in_one_sentence(stack: RunningStack, taken: str) -> None:
    """A second stack on the same ports or folder says what to do, and the first is not touched."""
    before = stack.pids
    with new_layout() as free:
        layout = (
            replace(free, first_port=stack.layout.first_port)
            if taken == "ports"
            else replace(free, data=stack.layout.data)
        )
        with starting_stack(layout, output=free.data / "printed.txt") as second:
            assert second.supervisor.wait(timeout=30) == 1
            assert len(second.printed.splitlines()) == 1
            assert ("PORTS=" if taken == "ports" else "DATA=") in second.printed
    assert stack.pids == before


def test_a_demonstration_is_the_same_people_with_other_secrets() -> None:
    """500 contacts in three lists, each once; passwords and ids differ from stack to stack."""
    one, other = seeds.draw(), seeds.draw()
    lists = one["lists"]
    assert isinstance(lists, list)
    emails = [contact["email"] for each in lists for contact in each["contacts"]]
    assert (len(lists), len(emails), len(set(emails))) == (3, 500, 500)
    assert one["account_id"] != other["account_id"]
