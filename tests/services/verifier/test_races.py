"""Two things at once, on a real database: whatever the order, one end, five tries, one acceptance."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign.runtime.folding.fold import absorb, rounds
from services.verifier.challenges import Answered, Challenges, Sent
from tests.support.events import clock, incoming
from tests.support.kafka import eventually
from tests.support.verifier_parts import wired

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers


@pytest.fixture
async def sections(verifier: VerifierUnderTest) -> AsyncIterator[Challenges]:
    """Lend out the critical sections on 20 connections, with no door before them: many processes would race so."""
    async with wired(verifier.settings) as (_, challenges):
        yield challenges


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def row(verifier: VerifierUnderTest, challenge_id: UUID) -> Any:
    """Return the challenge's counts beside its decisions."""
    return await verifier.db.fetchrow(
        """
        SELECT c.attempts, c.closed_at IS NOT NULL AS closed, f.failures, d.outcome, d.reason,
               (SELECT count(*) FROM verifier.answer a WHERE a.challenge_id = c.challenge_id) AS answers
          FROM verifier.challenge c
          JOIN verifier.counter f ON f.user_id = c.user_id AND f.place_known = c.place_known
          LEFT JOIN verifier.decision d ON d.request_id = c.request_id
         WHERE c.challenge_id = $1
        """,
        challenge_id,
    )


async def test_of_200_right_answers_one_is_accepted(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """The others are over, and one decision is published."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    replies = await asyncio.gather(*(sections.answer(challenge_id, code, uuid4()) for _ in range(200)))
    verdicts = [reply.verdict for reply in replies if isinstance(reply, Answered)]
    assert (verdicts.count("accepted"), verdicts.count("over")) == (1, 199)
    found = await row(verifier, challenge_id)
    assert (found["attempts"], found["outcome"], found["answers"]) == (1, "granted", 1)
    await verifier.decision(event.request_id)
    assert len(verifier.phones.decisions[event.request_id]) == 1


async def test_of_200_wrong_answers_five_are_judged(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """The right code among them comes too late; the user's counter moved by five."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    replies = await asyncio.gather(*(sections.answer(challenge_id, wrong(code), uuid4()) for _ in range(200)))
    judged = [reply for reply in replies if isinstance(reply, Answered)]
    assert sorted(reply.tries_left for reply in judged if reply.verdict == "wrong") == [0, 1, 2, 3, 4]
    assert [reply.verdict for reply in judged].count("over") == 195
    late = await sections.answer(challenge_id, code, uuid4())
    assert late == Answered("over", 0)
    found = await row(verifier, challenge_id)
    assert (found["attempts"], found["failures"], found["reason"]) == (5, 5, "code.exhausted")
    decision = await verifier.decision(event.request_id)
    assert decision.reason == "code.exhausted"


async def test_a_flood_over_http_is_turned_away_at_the_door(verifier: VerifierUnderTest) -> None:
    """At most eight wait, the rest gets 429 and uses no try; who comes back is judged."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    replies = await asyncio.gather(*(verifier.answer(challenge_id, wrong(code)) for _ in range(200)))
    told = [(reply["status"], reply.get("verdict")) for reply in replies]
    assert told.count((200, "wrong")) == 5
    assert {status for status, _ in told} <= {200, 429}
    assert all(reply["retry_after"] == "1" for reply in replies if reply["status"] == 429)
    assert (await row(verifier, challenge_id))["attempts"] == 5


@pytest.mark.parametrize("right", [True, False])
async def test_the_same_answer_twice_gets_the_same_reply(
    verifier: VerifierUnderTest, sections: Challenges, right: bool
) -> None:
    """At once or afterwards, by its id: one try is used."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    given, answer_id = code if right else wrong(code), uuid4()
    at_once = await asyncio.gather(*(sections.answer(challenge_id, given, answer_id) for _ in range(20)))
    later = await sections.answer(challenge_id, given, answer_id)
    assert all(reply == later for reply in at_once)
    assert isinstance(later, Answered)
    assert (later.verdict, later.grant is not None) == (("accepted", True) if right else ("wrong", False))
    found = await row(verifier, challenge_id)
    assert (found["attempts"], found["answers"]) == (1, 1)


async def test_an_answer_against_expiry_has_one_end(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """Twenty challenges that run out while they are answered: accepted means granted, over means denied."""
    opened = [await verifier.challenged(await verifier.member()) for _ in range(20)]
    codes = [await verifier.code(challenge_id) for _, challenge_id in opened]
    await verifier.db.execute(
        "UPDATE verifier.challenge SET expires_at = clock_timestamp() + interval '0.4 s' "
        "WHERE challenge_id = ANY($1::uuid[])",
        [challenge_id for _, challenge_id in opened],
    )

    async def late(number: int) -> Any:
        await asyncio.sleep(0.3 + number * 0.015)
        return await sections.answer(opened[number][1], codes[number], uuid4())

    replies = await asyncio.gather(*(late(number) for number in range(20)))
    for (event, challenge_id), reply in zip(opened, replies, strict=True):
        decision = await verifier.decision(event.request_id)
        found = await row(verifier, challenge_id)
        expected = ("granted", None) if reply.verdict == "accepted" else ("denied", "code.expired")
        assert (found["outcome"], found["reason"]) == expected
        assert getattr(decision, "reason", None) == expected[1]
        assert len(verifier.phones.decisions[event.request_id]) == 1


async def test_an_answer_against_cancelling_has_one_end(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """Whoever comes first; the other is told."""
    for number in range(10):
        _, challenge_id = await verifier.challenged(await verifier.member())
        code = await verifier.code(challenge_id)
        both = [sections.answer(challenge_id, code, uuid4()), sections.cancel(challenge_id)]
        ends = await asyncio.gather(*(both if number % 2 else reversed(both)))
        answered, cancelled = ends if number % 2 else reversed(ends)
        assert isinstance(answered, Answered)
        assert (answered.verdict, cancelled) in {("accepted", False), ("over", True)}
        found = await row(verifier, challenge_id)
        assert (found["reason"] or found["outcome"]) == ("cancelled" if cancelled else "granted")


async def test_an_answer_against_a_resend_is_judged_once(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """The first code is good before and after the second text: it is accepted either way."""
    for _ in range(10):
        _, challenge_id = await verifier.challenged(await verifier.member())
        code = await verifier.code(challenge_id)
        await age_texts(verifier, challenge_id, 31)
        answered, sent = await asyncio.gather(
            sections.answer(challenge_id, code, uuid4()), sections.resend(challenge_id)
        )
        assert isinstance(answered, Answered)
        assert answered.verdict == "accepted"
        assert sent is None or not isinstance(sent, Sent) or sent.send == 2


async def test_of_many_resends_one_leaves(verifier: VerifierUnderTest, sections: Challenges) -> None:
    """Twenty at once: one text, the others wait."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    await age_texts(verifier, challenge_id, 31)
    replies = await asyncio.gather(*(sections.resend(challenge_id) for _ in range(20)))
    assert [reply.send for reply in replies if isinstance(reply, Sent)] == [2]


async def test_an_answer_after_the_number_was_replaced_is_over(verifier: VerifierUnderTest) -> None:
    """The code went to a phone that is nobody's any more: closed, and told why on the topic alone."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    code = await verifier.code(challenge_id)
    await verifier.replace_number(member)
    reply = await verifier.answer(challenge_id, code)
    assert (reply["verdict"], reply["grant"]) == ("over", None)
    decision = await verifier.decision(event.request_id)
    assert decision.reason == "number.replaced"


async def test_an_answer_against_replacing_the_number_has_one_end(
    verifier: VerifierUnderTest, sections: Challenges
) -> None:
    """Accepted with the old number in force, or over without it; never accepted and denied."""
    for _ in range(10):
        member = await verifier.member()
        _, challenge_id = await verifier.challenged(member)
        code = await verifier.code(challenge_id)
        answered, _ = await asyncio.gather(
            sections.answer(challenge_id, code, uuid4()), verifier.replace_number(member)
        )
        assert isinstance(answered, Answered)
        found = await row(verifier, challenge_id)
        assert (answered.verdict, found["reason"]) in {("accepted", None), ("over", "number.replaced")}


async def test_two_owners_of_a_partition_open_each_challenge_once(verifier: VerifierUnderTest) -> None:
    """The same forty assessments in opposite order on two connections: no deadlock, each text and decision once."""
    members = [await verifier.member() for _ in range(20)]
    events = [verifier.assessment(member) for member in members]
    events += [
        verifier.assessment(member, outcome="allow", reasons=["ip.known"], place_known=True) for member in members
    ]
    batch = [incoming(event) for event in events]
    async with wired(verifier.settings) as (one, _), wired(verifier.settings) as (other, _):
        first, second = await asyncio.gather(_owner(verifier, one, batch), _owner(verifier, other, batch[::-1]))
    ids = [outgoing.event_id for outgoing in (*first, *second)]
    assert len(ids) == len(set(ids)) == 40


async def _owner(verifier: VerifierUnderTest, parts: Any, batch: list[Any]) -> list[Any]:
    from countersign.runtime.database.postgres import Link  # noqa: PLC0415

    link = Link(verifier.settings.postgres.dsn.get_secret_value(), "verifier")
    fold, due = parts.folds[0], []
    try:
        for part in rounds(fold, batch):
            due += (await absorb(await link.get(), fold, part)).due
    finally:
        await link.close()
    return due


async def test_the_same_key_twice_in_a_batch_is_one_challenge(verifier: VerifierUnderTest) -> None:
    """A duplicate waits for the next round and is known there."""
    event = verifier.assessment(await verifier.member())
    async with wired(verifier.settings) as (parts, _):
        due = await _owner(verifier, parts, [incoming(event), incoming(event), incoming(event)])
    assert len(due) == 1


async def age_texts(verifier: VerifierUnderTest, challenge_id: UUID, seconds: int) -> None:
    """Make the texts of a challenge older than they are."""
    await verifier.db.execute(
        "UPDATE verifier.send SET issued_at = issued_at - $2::interval WHERE challenge_id = $1",
        challenge_id,
        timedelta(seconds=seconds),
    )


async def test_a_replay_of_the_topic_changes_nothing(verifier: VerifierUnderTest) -> None:
    """The same assessments again: no text, no decision, no state."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    reply = await verifier.answer(challenge_id, await verifier.code(challenge_id))
    assert reply["verdict"] == "accepted"
    texts = len(verifier.phones.issued)
    last = verifier.assessment(await verifier.member(), requested_at=clock())
    await verifier.publish(event, event, last)

    async def folded() -> bool:
        return bool((await verifier.state(last.request_id))["status"] == 200)

    await eventually(folded)
    assert len(verifier.phones.decisions[event.request_id]) == 1
    assert (await verifier.state(event.request_id))["state"] == "granted"
    assert sum(key[0] == challenge_id for key in verifier.phones.issued) == 1
    assert len(verifier.phones.issued) >= texts
