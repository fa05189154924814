"""Records that a bug of ours fails on: their accounts pay for it and nobody else; too many, and the partition waits."""

from __future__ import annotations

import asyncio
from statistics import median, quantiles
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from countersign.contract import AccessRequested
from deploy.local.checkout import CHECKOUT
from tests.support.events import an_access_requested
from tests.support.kafka import eventually
from tests.support.poison import Sick, an_account_on, braked, partition_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from countersign.runtime.program.machine import Machine
    from tests.support.stage import Stage

pytestmark = pytest.mark.servers

POISONED = """
SELECT count(*) FROM risk_evaluator.dead_letter WHERE kind = 'bug' AND state = 'new' AND record_key = ANY($1::bytea[])
"""
OTHERS_LETTERS = """
SELECT count(*) FROM risk_evaluator.dead_letter WHERE kind = 'bug' AND NOT record_key = ANY($1::bytea[])
"""
ASSESSED = "SELECT count(*) FROM risk_evaluator.assessment WHERE account_id = ANY($1::uuid[])"
HELD = "SELECT partition, reason FROM risk_evaluator.brake WHERE released_at IS NULL"
RELEASE = "UPDATE risk_evaluator.brake SET released_at = now() WHERE released_at IS NULL"
REDRIVE = """
UPDATE risk_evaluator.dead_letter SET state = 'redrive', next_try_at = now() WHERE kind = 'bug' AND state = 'new'
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sick(stage: Stage) -> AsyncIterator[Sick]:
    """Let risk-evaluators of this process take the place of the stage's own; afterwards no letter is left over."""
    await stage.fleet.end("risk_evaluator")
    servers = stage.fleet.servers
    yield Sick(
        {
            "kafka": {"bootstrap_servers": servers.kafka, "session_timeout_ms": 6_000},
            "policy_file": CHECKOUT / "deploy/policy/local.yaml",
            "jwks_url": f"{stage.fleet.url('verifier')}/.well-known/jwks.json",
            **servers.secrets["risk_evaluator"],
        }
    )
    await stage.db.execute(RELEASE)
    await stage.db.execute(REDRIVE)
    await stage.fleet.start("risk_evaluator")
    await stage.rest()


@pytest.mark.timeout(120)
async def test_one_account_pays_alone(stage: Stage, sick: Sick, say: Callable[[str], None]) -> None:
    """Each of its records is a dead letter; nobody else's is, nor is anybody else held up."""
    ill, well = uuid4(), [uuid4() for _ in range(40)]
    async with sick.member():
        clean = await _decided_in(stage, well)
        sick.accounts.add(ill)
        async with asyncio.TaskGroup() as group:
            poisoning = group.create_task(_ask(stage, [ill] * 80, every=0.02))
            beside = await _decided_in(stage, well)
            await poisoning
        await eventually(lambda: _is(stage, POISONED, [str(ill).encode()], 80), within=20)
        assert not await stage.db.fetchval(OTHERS_LETTERS, [str(ill).encode()])
        assert not await stage.db.fetch(HELD), "one account's poison never brakes"
    say(f"poison of one account: others' requests decided in {_spread(clean)} without, {_spread(beside)} beside it")
    assert median(beside) < 2 * median(clean) + 0.1


@pytest.mark.timeout(180)
async def test_the_brake_holds_the_partition_until_it_is_released(stage: Stage, sick: Sick) -> None:
    """Three accounts: it stops, is told, outlives a restart and a rebalance, pours nothing, and goes on when released.

    /readyz stays as it is: all other partitions are served, and routes of the same process must not be taken away
    for one partition. The metric and the log are what somebody is called by.
    """
    ill = [an_account_on(3) for _ in range(3)]
    same, other = an_account_on(3), an_account_on(4)
    keys = [str(account).encode() for account in ill]
    sick.accounts.update(ill)
    async with sick.member() as machine:
        await _ask(stage, ill * 30)
        await eventually(lambda: _is_held(stage), within=20)
        await eventually(_said(sick, 1), within=5)
        assert braked(machine) == {3: 1.0}
        letters = await stage.db.fetchval(POISONED, keys)
        assert 20 < letters <= 21, "it stops at the first record past the limit"
        await _ask(stage, [same])
        await _served(stage, other, same)
        assert not machine.health.reasons
    async with sick.member() as machine:
        await eventually(_said(sick, 2), within=10)
        assert braked(machine) == {3: 1.0}, "a restart knows of it"
        await _served(stage, other, same)
        async with sick.member("1"):
            await eventually(_said(sick, 3), within=10)  # each says so at its next assignment
            await _served(stage, other, same)
            assert await stage.db.fetchval(POISONED, keys) == letters, "nothing was poured"
        sick.accounts.clear()  # the bug is mended, and
        await stage.db.execute(RELEASE)
        # The other member has left without a word, as a static one does: its partitions come back after a session.
        await eventually(lambda: _is(stage, ASSESSED, [same], 1), within=30)
        await eventually(lambda: _is(stage, ASSESSED, ill, 90 - letters), within=20)
        await eventually(lambda: _is_free(machine), within=10)
        await stage.db.execute(REDRIVE)
        await eventually(lambda: _is(stage, ASSESSED, ill, 90), within=20)
        assert sick.said("partition_released")


async def _ask(stage: Stage, accounts: Sequence[UUID], every: float = 0.0) -> list[UUID]:
    """Ask for a login of somebody nobody knows: it is denied at once, and no text is sent."""
    asked = []
    for account_id in accounts:
        event = an_access_requested(account_id=account_id)
        asked.append(event.request_id)
        await stage.driver.publish(event)
        await asyncio.sleep(every)
    return asked


async def _decided_in(stage: Stage, accounts: Sequence[UUID]) -> list[float]:
    """Return how many seconds each request took from Kafka to its decision."""
    took = []
    for account_id in accounts:
        began = asyncio.get_running_loop().time()
        (request_id,) = await _ask(stage, [account_id])
        assert (await stage.driver.state(request_id))["reason"] == "member.unknown"
        took.append(asyncio.get_running_loop().time() - began)
    return took


async def _served(stage: Stage, other: UUID, same: UUID) -> None:
    """Another partition goes on, and the held one does not."""
    (request_id,) = await _ask(stage, [other])
    assert (await stage.driver.state(request_id))["state"] == "denied"
    assert partition_of(same) == 3
    assert not await stage.db.fetchval(ASSESSED, [same])


async def _is(stage: Stage, sql: str, of: Sequence[object], wanted: int) -> bool:
    return bool(await stage.db.fetchval(sql, of) == wanted)


async def _is_held(stage: Stage) -> bool:
    return [row["partition"] for row in await stage.db.fetch(HELD)] == [3]


async def _is_free(machine: Machine) -> bool:
    return braked(machine) == {3: 0.0}


def _said(sick: Sick, times: int) -> Callable[[], Awaitable[bool]]:
    """Return a check that the log has said it so often, each time with topic, partition and reason."""

    async def check() -> bool:
        said = [entry for entry in sick.said("partition_braked") if entry["partition"] == 3]
        assert all(entry["topic"] == AccessRequested.topic and entry["reason"] for entry in said)
        return len(said) >= times

    return check


def _spread(seconds: Sequence[float]) -> str:
    return f"p50 {median(seconds) * 1000:.0f} ms, p95 {quantiles(seconds, n=20)[-1] * 1000:.0f} ms"
