"""A thief who has the password and no phone: how far guessing comes, and whom it hinders."""

from __future__ import annotations

import asyncio
from collections import Counter as Tally
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from services.verifier.counters import FAILURES_FREE, FAILURES_MAX, failed, wait_of
from services.verifier.model import Counter
from tests.support.events import clock
from tests.support.verifier import a_verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from uuid import UUID

    from tests.support.servers import Servers
    from tests.support.verifier import Member, VerifierUnderTest

pytestmark = pytest.mark.servers

CHALLENGES, ANSWERS = 100, 500
JUDGED = "SELECT sum(attempts)::int FROM verifier.challenge WHERE user_id = $1"
FAILURES = "SELECT failures FROM verifier.counter WHERE user_id = $1 AND NOT place_known"
FAILED = "UPDATE verifier.counter SET failures = $2, last_failed_at = now() - $3::interval WHERE user_id = $1"
UNLOCK = "UPDATE enrolment.member SET unlocked_at = clock_timestamp() WHERE user_id = $1"


@pytest.fixture
async def verifier(servers: Servers) -> AsyncIterator[VerifierUnderTest]:
    """Run a verifier whose codes have eight digits, so that no guess is right by chance."""
    async with a_verifier(servers, code={"digits": 8}) as verifier:
        yield verifier


async def test_five_hundred_guesses_over_a_hundred_challenges(
    verifier: VerifierUnderTest, say: Callable[[str], None]
) -> None:
    """Ten are judged, however many challenges and whatever is sent at once; the rest uses no try and learns nothing."""
    victim = await verifier.member()
    challenges = await _challenges(verifier, victim)
    codes = {await verifier.code(challenge_id) for challenge_id in challenges}
    wrong = [code for code in (f"{n:08d}" for n in range(ANSWERS + len(codes))) if code not in codes][:ANSWERS]
    replies = await asyncio.gather(*(verifier.answer(challenges[n % CHALLENGES], code) for n, code in enumerate(wrong)))
    told = Tally(reply.get("verdict") or reply["type"].rpartition(":")[2] for reply in replies)
    judged = await verifier.db.fetchval(JUDGED, victim.user_id)
    say(f"guessing: {ANSWERS} wrong answers over {CHALLENGES} challenges, {judged} judged; told {dict(told)}")
    assert judged == FAILURES_FREE == told["wrong"]
    assert await verifier.db.fetchval(FAILURES, victim.user_id) == FAILURES_FREE
    assert told == {"wrong": FAILURES_FREE, "wait": ANSWERS - FAILURES_FREE}
    await _stays_shut(verifier, victim, challenges[0])
    await _owner_is_not_hindered(verifier, victim)


async def test_only_enrolment_unlocks(verifier: VerifierUnderTest) -> None:
    """At a hundred failures neither time nor a right code nor a new challenge helps, but an account manager does."""
    victim = await verifier.member()
    _, challenge_id = await verifier.challenged(victim)
    await verifier.db.execute(FAILED, victim.user_id, FAILURES_MAX, timedelta(days=400))
    right = await verifier.code(challenge_id)
    locked = await verifier.answer(challenge_id, right)
    assert (locked["status"], locked["retry_at"]) == (429, None)
    assert locked["type"].endswith("locked")
    await _stays_shut(verifier, victim, challenge_id)
    await _owner_is_not_hindered(verifier, victim)
    await verifier.db.execute(UNLOCK, victim.user_id)
    assert (await verifier.answer(challenge_id, right))["verdict"] == "accepted"
    assert await verifier.db.fetchval(FAILURES, victim.user_id) == 0


def test_patience_does_not_help_either(say: Callable[[str], None]) -> None:
    """Whoever guesses as soon as a wait is over has a few dozen tries a day, and is locked out within four days."""
    began = now = clock()
    counter, tries = Counter(), []
    while (wait := wait_of(counter, None, now)) is None or wait.until is not None:
        if wait is not None and wait.until is not None:
            now = wait.until
        counter = failed(counter, None, now)
        tries.append(now - began)
    on_the_first_day = sum(1 for at in tries if at < timedelta(days=1))
    say(f"guessing with patience: {on_the_first_day} tries on the first day, locked at {len(tries)} after {tries[-1]}")
    assert len(tries) == FAILURES_MAX
    assert on_the_first_day < FAILURES_MAX / 2
    assert timedelta(days=3) < tries[-1] < timedelta(days=4)


async def _challenges(verifier: VerifierUnderTest, victim: Member) -> list[UUID]:
    """Open a hundred challenges of one user: three are open at a place, so from many places."""
    opened = []
    for n in range(CHALLENGES):
        place = f"198.51.{n // 3}.7/32"
        _, challenge_id = await verifier.challenged(victim, place=place, place_known=False)
        opened.append(challenge_id)
    return opened


async def _stays_shut(verifier: VerifierUnderTest, victim: Member, challenge_id: UUID) -> None:
    """Neither a new challenge nor a further text brings a new try."""
    event = await verifier.assess(victim, place="203.0.113.200/32", place_known=False)
    denied = await verifier.state(event.request_id, wait=10)
    assert (denied["state"], denied["reason"]) == ("denied", "locked")
    assert (await verifier.resend(challenge_id))["status"] == 429


async def _owner_is_not_hindered(verifier: VerifierUnderTest, owner: Member) -> None:
    """At the computer that the account knows: straight in; and where a code is asked for, the code is judged."""
    known = {"place": "192.0.2.1/32", "place_known": True}
    login = await verifier.assess(owner, **known, outcome="allow", reasons=["ip.known"])
    assert (await verifier.state(login.request_id, wait=10))["state"] == "granted"
    _, export = await verifier.challenged(owner, **known, action="export", reasons=["export.always"])
    assert (await verifier.answer(export, await verifier.code(export)))["verdict"] == "accepted"
