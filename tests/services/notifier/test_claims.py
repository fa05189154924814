"""A claim is taken once. Whoever dies with it leaves an unknown text, never a second one."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from countersign.contract.number import NONCE_BYTES
from services.notifier.settings import ClaimSettings
from tests.support.kafka import eventually
from tests.support.notifier import Challenge, Neighbourhood, a_process
from tests.support.sns_stand_in import Reply, SnsStandIn

if TYPE_CHECKING:
    from pathlib import Path

    from countersign.runtime.program.machine import Machine

pytestmark = pytest.mark.servers

SHORT_CLAIM = ClaimSettings(good_for=timedelta(seconds=1), settled_within=timedelta(seconds=12))
BEYOND_CLAIM_SECONDS = 1.5
AGE_CLAIM = "UPDATE notifier.dispatch SET claimed_at = claimed_at - $2::interval WHERE challenge_id = $1"


async def _claimed(near: Neighbourhood, challenge: Challenge) -> None:
    async def is_claimed() -> bool:
        return await near.state(challenge) == "claimed"

    await eventually(is_claimed, within=90)  # a process takes its time to start on a busy machine


async def test_kill_9_between_claim_and_settle_leaves_an_unknown_text(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """SNS has the text and does not answer; the process is killed; the next one sends nothing and says unknown."""
    sns.otherwise = Reply.SILENCE
    challenge = near.challenge(await near.person())
    async with a_process(near, tmp_path) as (pid, _):
        await near.issue(challenge)
        await _claimed(near, challenge)

        async def arrived() -> bool:
            return bool(sns.with_code(challenge.code))

        await eventually(arrived)
        os.kill(pid, signal.SIGKILL)
    sns.otherwise = Reply.ACCEPTED
    async with near.notifier():
        await asyncio.sleep(2)
        assert await near.state(challenge) == "claimed"
        await near.db.execute(AGE_CLAIM, challenge.event.challenge_id, timedelta(seconds=31))
        (told,) = await near.deliveries(challenge)
    assert (told["type"], told["reason"], told["segments"]) == ("countersign.sms.unknown.v1", "unsettled", 1)
    assert len(sns.with_code(challenge.code)) == 1


async def test_a_process_that_wakes_after_its_claim_was_doubted_sends_nothing(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """Frozen between claim and send until the text is settled as unknown: it stays so, and nothing leaves."""
    challenge = near.challenge(await near.person())
    frozen, doubted, awake = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def freeze(name: str) -> None:
        if name == "texts.claimed" and not frozen.is_set() and await near.state(challenge) == "claimed":
            frozen.set()
            await asyncio.sleep(BEYOND_CLAIM_SECONDS)
            await doubted.wait()
            awake.set()

    async with near.notifier(checkpoint=freeze, claim=SHORT_CLAIM) as machine:
        await near.issue(challenge)
        await frozen.wait()
        await near.db.execute(AGE_CLAIM, challenge.event.challenge_id, timedelta(seconds=31))
        (told,) = await near.deliveries(challenge)
        doubted.set()
        await awake.wait()
        await _came_late(machine)
        assert len(await near.deliveries(challenge)) == 1
    assert (told["type"], told["reason"]) == ("countersign.sms.unknown.v1", "unsettled")
    assert sns.with_code(challenge.code) == []


async def _came_late(machine: Machine) -> None:
    async def is_counted() -> bool:
        return bool(machine.metrics.registry.get_sample_value("countersign_texts_settled_late_total"))

    await eventually(is_counted)


async def test_an_answer_that_comes_after_the_doubt_changes_nothing(near: Neighbourhood, sns: SnsStandIn) -> None:
    """The claim was settled as unknown while SNS still thought; one event stands."""
    sns.seconds = 4.5
    challenge = near.challenge(await near.person())
    async with near.notifier(claim=SHORT_CLAIM) as machine:  # doubts are looked for every 2 s: before the answer
        await near.issue(challenge)
        await _claimed(near, challenge)
        await near.db.execute(AGE_CLAIM, challenge.event.challenge_id, timedelta(seconds=31))
        (row,) = await near.settled(challenge)
        await _came_late(machine)
        (told,) = await near.deliveries(challenge)
    assert row["state"] == await near.state(challenge) == "unknown"
    assert told["type"] == "countersign.sms.unknown.v1"
    assert len(sns.with_code(challenge.code)) == 1


async def test_a_sender_that_comes_late_to_its_claim_leaves_the_text_alone(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """Frozen for longer than its claim is good for: the claim is given back and taken anew, and one text leaves."""
    challenge = near.challenge(await near.person())
    frozen = asyncio.Event()

    async def freeze(name: str) -> None:
        if name == "texts.claimed" and not frozen.is_set() and await near.state(challenge) == "claimed":
            frozen.set()
            await asyncio.sleep(BEYOND_CLAIM_SECONDS)

    async with near.notifier(checkpoint=freeze, claim=SHORT_CLAIM):
        await near.issue(challenge)
        (row,) = await near.settled(challenge)
    assert (row["state"], row["claims"]) == ("accepted", 2)
    assert len(sns.with_code(challenge.code)) == 1


async def test_a_terminated_notifier_settles_what_is_in_flight(near: Neighbourhood, sns: SnsStandIn) -> None:
    """SIGTERM: no new text, and the answers of those under way are waited for."""
    sns.seconds = 1.0
    challenge = near.challenge(await near.person())
    async with near.notifier():
        await near.issue(challenge)
        await _claimed(near, challenge)
    assert await near.state(challenge) == "accepted"


@pytest.mark.parametrize(
    ("over", "life", "state", "reason"),
    [
        ({"key_id": "another"}, 9, "suppressed", "key.unknown"),
        ({"sealed": b"x" * (NONCE_BYTES + 28)}, 300, "refused", "number.unreadable"),
    ],
)
async def test_a_number_that_does_not_open_is_no_text(
    near: Neighbourhood, sns: SnsStandIn, over: dict[str, Any], life: float, state: str, reason: str
) -> None:
    """Sealed under a key that may still come: it waits as long as its challenge. Broken: refused."""
    challenge = near.challenge(await near.person(**over), life=life)
    async with near.notifier():
        await near.issue(challenge)
        (row,) = await near.settled(challenge)
    assert (row["state"], row["reason"]) == (state, reason)
    assert sns.with_code(challenge.code) == []


async def test_a_number_that_is_gone_is_refused(near: Neighbourhood, sns: SnsStandIn) -> None:
    """As is one of somebody else."""
    person, other = await near.person(), await near.person()
    gone = near.challenge(person, number_id=person.user_id)
    foreign = near.challenge(person, number_id=other.number_id)
    async with near.notifier():
        await near.issue(gone, foreign)
        told = await near.deliveries(gone, foreign)
    assert [(event["type"], event["reason"]) for event in told] == [
        ("countersign.sms.refused.v1", "number.unknown")
    ] * 2
    assert near.sent(sns, gone, foreign) == []


async def test_a_code_key_that_is_installed_late_is_waited_for(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """Sealed under a key that this process does not hold: sent once, as soon as its secrets file has it."""
    held = near.servers.secrets["notifier"]
    new = {**held["code_keys"][0], "key_id": "code-new", "secret": b64encode(secrets.token_bytes(32)).decode()}
    challenge = near.challenge(await near.person(), key=new)
    async with a_process(near, tmp_path) as (_, log):
        await near.issue(challenge)

        async def is_kept() -> bool:
            return bool(
                await near.db.fetchval(
                    "SELECT count(*) FROM notifier.dead_letter WHERE kind = 'key_unknown' AND value = $1",
                    challenge.event.model_dump_json().encode(),
                )
            )

        await eventually(is_kept, within=90)
        assert near.sent(sns, challenge) == []
        file = tmp_path / "notifier.json"
        file.write_text(json.dumps({**held, "code_keys": [*held["code_keys"], new]}))
        (row,) = await near.settled(challenge)
    assert row["state"] == "accepted", log.read_text()
    assert near.sent(sns, challenge) == [challenge.code]
