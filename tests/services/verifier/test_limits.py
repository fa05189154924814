"""Tries, texts, open challenges and consecutive failures: the limits as a claimant meets them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.events import clock

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.verifier import Member, VerifierUnderTest

pytestmark = pytest.mark.servers
NEW = {"outcome": "challenge", "reasons": ["ip.new"]}


async def test_a_fourth_challenge_cancels_the_oldest(verifier: VerifierUnderTest) -> None:
    """Of one user and place: another place's stay open."""
    member = await verifier.member()
    elsewhere, _ = await verifier.challenged(member, place="198.51.100.7/32")
    opened = [await verifier.challenged(member) for _ in range(4)]
    states = [(await verifier.state(event.request_id)) for event, _ in opened]
    assert [state["state"] for state in states] == ["denied", "challenged", "challenged", "challenged"]
    assert states[0]["reason"] == "cancelled"
    assert (await verifier.state(elsewhere.request_id))["state"] == "challenged"
    assert (await verifier.decision(opened[0][0].request_id)).reason == "cancelled"


async def test_after_ten_failures_nothing_is_judged_for_a_while(verifier: VerifierUnderTest) -> None:
    """429 with Retry-After and no try used; no challenge opens; the known places are counted apart."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    await _failed(verifier, member, 9)
    assert (await verifier.answer(challenge_id, _wrong(code)))["verdict"] == "wrong"
    waits = await verifier.answer(challenge_id, code)
    assert waits["status"] == 429
    assert 25 <= int(waits["retry_after"]) <= 30
    assert (await verifier.resend(challenge_id))["status"] == 429
    assert (await verifier.state(event.request_id))["challenge"]["tries_left"] == 4
    locked = await verifier.assess(member, **NEW)
    state = await verifier.state(locked.request_id, wait=10)
    assert (state["reason"], state["retry_at"] is not None) == ("locked", True)
    _, known = await verifier.challenged(member, place_known=True, outcome="challenge", reasons=["ip.known"])
    assert (await verifier.answer(known, await verifier.code(known)))["verdict"] == "accepted"


async def test_at_a_hundred_only_an_account_manager_helps(verifier: VerifierUnderTest) -> None:
    """Unlocked after the last failure, the code that was already there is judged again."""
    member = await verifier.member()
    _, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    await _failed(verifier, member, 100, ago=timedelta(days=30))
    locked = await verifier.answer(challenge_id, code)
    assert (locked["status"], locked["retry_at"]) == (429, None)
    denied = await verifier.assess(member, **NEW)
    assert (await verifier.state(denied.request_id, wait=10))["reason"] == "locked"
    await verifier.db.execute("UPDATE enrolment.member SET unlocked_at = now() WHERE user_id = $1", member.user_id)
    assert (await verifier.answer(challenge_id, code))["verdict"] == "accepted"


async def test_success_clears_the_failures_of_its_own_places(verifier: VerifierUnderTest) -> None:
    """The thief's failures at new places stay when the owner succeeds at a known one."""
    member = await verifier.member()
    await _failed(verifier, member, 7)
    _, known = await verifier.challenged(member, place_known=True)
    await verifier.answer(known, _wrong(await verifier.code(known)))
    await verifier.answer(known, await verifier.code(known))
    rows = await verifier.db.fetch(
        "SELECT place_known, failures FROM verifier.counter WHERE user_id = $1", member.user_id
    )
    assert {row["place_known"]: row["failures"] for row in rows} == {False: 7, True: 0}


async def test_a_new_challenge_brings_no_new_failures_to_spare(verifier: VerifierUnderTest) -> None:
    """NIST: a new secret does not reset the count. Ten failures over three challenges bring the wait."""
    member = await verifier.member()
    verdicts = []
    for _ in range(3):
        _, challenge_id = await verifier.challenged(member)
        code = await verifier.code(challenge_id)
        verdicts += [(await verifier.answer(challenge_id, _wrong(code))).get("verdict") for _ in range(4)]
    assert verdicts == ["wrong"] * 10 + [None] * 2


async def test_the_codes_of_the_latest_two_texts_are_good(verifier: VerifierUnderTest) -> None:
    """Of three texts the first one's code is wrong, uses a try and is told as older; the second one's is accepted."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    assert (await verifier.resend(challenge_id))["status"] == 429
    for send in (2, 3):
        await _age_texts(verifier, challenge_id, 61)
        sent = await verifier.resend(challenge_id)
        assert (sent["status"], sent["send"]) == (202, send)
        assert (await verifier.state(event.request_id))["challenge"]["send"] == send
    codes = [await verifier.code(challenge_id, send) for send in (1, 2, 3)]
    assert len(set(codes)) == 3, "two of three codes are the same, once in 300,000 runs"
    for answer_id in (first := uuid4(), first, uuid4()):  # the first one twice is one answer
        told = await verifier.answer(challenge_id, codes[0], answer_id)
        assert (told["verdict"], told["older"]) == ("wrong", True)
    assert told["tries_left"] == 3
    told = await verifier.answer(challenge_id, _wrong(codes[0]))
    assert (told["verdict"], told["older"], told["tries_left"]) == ("wrong", False, 2)
    assert (await verifier.answer(challenge_id, codes[1]))["verdict"] == "accepted"


async def test_a_challenge_has_four_texts(verifier: VerifierUnderTest) -> None:
    """30, 60 and 120 s apart; then none, and none when a minute is left."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    for _ in range(3):
        await _age_texts(verifier, challenge_id, 121)
        assert (await verifier.resend(challenge_id))["status"] == 202
    await _age_texts(verifier, challenge_id, 121)
    assert (await verifier.resend(challenge_id))["status"] == 409
    assert (await verifier.state(event.request_id))["challenge"]["resend_after"] is None
    _, late = await verifier.challenged(await verifier.member())
    await _age_texts(verifier, late, 31)
    await verifier.db.execute(
        "UPDATE verifier.challenge SET expires_at = clock_timestamp() + interval '59 s' WHERE challenge_id = $1", late
    )
    assert (await verifier.resend(late))["status"] == 409


def _wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def _age_texts(verifier: VerifierUnderTest, challenge_id: UUID, seconds: int) -> None:
    await verifier.db.execute(
        "UPDATE verifier.send SET issued_at = issued_at - $2::interval WHERE challenge_id = $1",
        challenge_id,
        timedelta(seconds=seconds),
    )


async def _failed(verifier: VerifierUnderTest, member: Member, failures: int, *, ago: timedelta = timedelta(0)) -> None:
    await verifier.db.execute(
        "INSERT INTO verifier.counter (user_id, place_known, failures, last_failed_at) VALUES ($1, false, $2, $3) "
        "ON CONFLICT (user_id, place_known) DO UPDATE SET failures = $2, last_failed_at = $3",
        member.user_id,
        failures,
        clock() - ago,
    )
