"""What SNS and the network do, over the real AWS client: the whole table of errors, on the wire."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from deploy.local.process import free_ports
from services.notifier.provider import PROBE_EVERY_SECONDS
from tests.support.kafka import eventually
from tests.support.notifier import Neighbourhood, a_neighbourhood
from tests.support.sns_stand_in import Reply, SnsStandIn, sns_stand_in

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

REFUSED, UNKNOWN, ACCEPTED = "refused", "unknown", "accepted"
TABLE = [
    (Reply.INTERNAL, UNKNOWN, "provider.error"),
    (Reply.UNAVAILABLE, UNKNOWN, "provider.error"),
    (Reply.RESET, UNKNOWN, "provider.reset"),
    (Reply.HALF, UNKNOWN, "provider.reset"),
    (Reply.SILENCE, UNKNOWN, "provider.timeout"),
    (Reply.OPTED_OUT, REFUSED, "provider.opted_out"),
    (Reply.INVALID, REFUSED, "provider.refused"),
    (Reply.STRANGE, UNKNOWN, "provider.unforeseen"),
    (Reply.ACCEPTED, ACCEPTED, None),
]


async def test_each_answer_ends_a_text_in_its_way_and_none_is_repeated(near: Neighbourhood, sns: SnsStandIn) -> None:
    """One publish each, whatever came of it; then 3 s of quiet."""
    people = [await near.person() for _ in TABLE]
    challenges = [near.challenge(person) for person in people]
    for person, (reply, _, _) in zip(people, TABLE, strict=True):
        sns.will_answer(person.number, reply)
    async with near.notifier():
        await near.issue(*challenges)
        rows = await near.settled(*challenges)
        await asyncio.sleep(3)
        told = await near.deliveries(*challenges)
    assert [(row["state"], row["reason"]) for row in rows] == [(state, reason) for _, state, reason in TABLE]
    assert near.sent(sns, *challenges) == sorted(challenge.code for challenge in challenges)
    assert [event["type"] for event in told] == [f"countersign.sms.{state}.v1" for _, state, _ in TABLE]
    assert [event["segments"] for event in told] == [0 if state == REFUSED else 1 for _, state, _ in TABLE]


async def test_what_certainly_did_not_leave_is_due_again(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Throttled twice, under either name: sent by the third try, and counted as one text."""
    person = await near.person()
    sns.will_answer(person.number, Reply.THROTTLED, Reply.THROTTLING)
    challenge = near.challenge(person)
    async with near.notifier():
        await near.issue(challenge)
        (row,) = await near.settled(challenge)
    assert (row["state"], row["claims"]) == (ACCEPTED, 3)
    assert [text.reply for text in sns.with_code(challenge.code)] == [Reply.THROTTLED, Reply.THROTTLING, Reply.ACCEPTED]


async def test_a_text_that_stays_throttled_is_suppressed_when_its_challenge_is_over(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """It says why it never left, and never leaves with under 5 s of life."""
    sns.otherwise = Reply.THROTTLED
    async with near.notifier():
        challenge = near.challenge(await near.person(), life=9)
        await near.issue(challenge)
        (row,) = await near.settled(challenge)
        (told,) = await near.deliveries(challenge)
    assert (row["state"], row["reason"], row["counted_at"]) == ("suppressed", "provider.throttled", None)
    assert told["type"] == "countersign.sms.suppressed.v1"
    assert 2 <= len(sns.with_code(challenge.code)) <= 4


async def test_a_text_waits_for_an_sns_that_is_not_there(servers: Servers) -> None:
    """Connection refused: nothing left, and /readyz says so. It is sent once somebody listens."""
    (port,) = free_ports(1)
    async with a_neighbourhood(servers, f"http://127.0.0.1:{port}") as near, near.notifier() as machine:
        challenge = near.challenge(await near.person())
        await near.issue(challenge)

        async def waits() -> bool:
            row = await near.dispatch(challenge)
            return row is not None and row["state"] == "due" and row["reason"] == "provider.unreachable"

        async def is_told() -> bool:
            return "sns.answers" in machine.health.reasons

        await eventually(waits)
        await eventually(is_told)
        async with sns_stand_in(port) as sns:
            (row,) = await near.settled(challenge)
            assert not machine.health.reasons
            assert row["state"] == ACCEPTED
            assert len(sns.with_code(challenge.code)) == 1


@pytest.mark.parametrize("reply", [Reply.AUTHORIZATION, Reply.SPEND_LIMIT])
async def test_what_is_ours_to_mend_stops_all_texts_and_pages(
    near: Neighbourhood, sns: SnsStandIn, reply: Reply
) -> None:
    """Not ready, with a reason; texts stay due, one tries at times; mended, all leave, once each."""
    sns.otherwise = reply
    challenges = [near.challenge(await near.person()) for _ in range(5)]
    async with near.notifier() as machine:
        await near.issue(challenges[0])

        async def is_stopped() -> bool:
            return "sns" in machine.health.reasons

        await eventually(is_stopped)
        await near.issue(*challenges[1:])
        tries = len(sns.publishes)
        await asyncio.sleep(3)
        assert len(sns.publishes) == tries
        assert {await near.state(challenge) for challenge in challenges} == {"due"}
        sns.otherwise = Reply.ACCEPTED
        rows = await near.settled(*challenges)
        assert "sns" not in machine.health.reasons
    assert {row["state"] for row in rows} == {ACCEPTED}
    accepted = [text.code for text in sns.publishes if text.reply is Reply.ACCEPTED]
    assert sorted(set(accepted) & {c.code for c in challenges}) == sorted(challenge.code for challenge in challenges)
    assert len(accepted) == len(set(accepted))


async def test_a_try_whose_answer_is_lost_is_not_followed_by_the_next_at_once(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """Stopped, then out of order: one text is burnt as unknown by the try, and not one at every look."""
    sns.otherwise = Reply.AUTHORIZATION
    challenges = [near.challenge(await near.person()) for _ in range(6)]
    async with near.notifier() as machine:
        await near.issue(challenges[0])

        async def is_stopped() -> bool:
            return "sns" in machine.health.reasons

        await eventually(is_stopped)
        sns.otherwise = Reply.UNAVAILABLE
        await near.issue(*challenges[1:])

        async def unknown() -> int:
            return [await near.state(challenge) for challenge in challenges].count(UNKNOWN)

        async def is_tried() -> bool:
            return await unknown() > 0

        await eventually(is_tried, within=PROBE_EVERY_SECONDS + 10)
        await asyncio.sleep(4)
        assert await unknown() == 1
        sns.otherwise = Reply.ACCEPTED
        await near.settled(*challenges)


async def test_a_stopped_provider_keeps_no_text_beyond_its_challenge(near: Neighbourhood, sns: SnsStandIn) -> None:
    """While nothing leaves, texts whose challenge is nearly over are told."""
    sns.otherwise = Reply.AUTHORIZATION
    first = near.challenge(await near.person())
    async with near.notifier() as machine:
        await near.issue(first)

        async def is_stopped() -> bool:
            return "sns" in machine.health.reasons

        await eventually(is_stopped)
        short = near.challenge(await near.person(), life=8)
        await near.issue(short)
        (row,) = await near.settled(short)
        assert (row["state"], row["reason"]) == ("suppressed", "late")
        assert near.sent(sns, short) == []
        sns.otherwise = Reply.ACCEPTED
        await near.settled(first)


async def test_64_texts_are_in_flight_and_no_more(near: Neighbourhood, sns: SnsStandIn) -> None:
    """A slow SNS holds up 64 texts of a process, not one after the other."""
    sns.seconds = 4.0  # time for 64 to be on their way, also on a busy machine
    person = [await near.person() for _ in range(10)]
    challenges = [near.challenge(person[n % 10]) for n in range(100)]
    async with near.notifier():
        await near.issue(*challenges)

        async def all_are_on_their_way() -> bool:
            return sns.in_flight == 64

        await eventually(all_are_on_their_way)
        sns.seconds = 0.0
        await near.settled(*challenges)
    assert sns.in_flight_max == 64
