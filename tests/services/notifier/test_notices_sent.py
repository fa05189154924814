"""Notices on real servers: to whom, once each, for an hour, at a fifth of the rate, and behind the codes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign.contract import Client
from tests.support.events import (
    a_number_replaced,
    a_number_reset,
    a_two_factor_disabled,
    a_two_factor_enabled,
    an_access_denied,
    an_access_granted,
    clock,
)
from tests.support.kafka import eventually
from tests.support.notices import notices_of, received, settled, tell
from tests.support.notifier import WITHIN, Neighbourhood, a_policy, a_process
from tests.support.notifier_offsets import caught_up, rewind
from tests.support.sns_stand_in import Reply, SnsStandIn

if TYPE_CHECKING:
    from pathlib import Path

    from countersign.contract import AccessGranted
    from tests.support.notifier import Challenge

pytestmark = pytest.mark.servers

TOPICS = ("account.settings.v1", "access.decisions.v1")
WAIT = """
UPDATE notifier.dispatch SET state = 'due', due_at = now() - interval '5 seconds', event = '{}', settled_at = NULL
 WHERE challenge_id = $1
"""
GONE = "DELETE FROM notifier.dispatch WHERE challenge_id = $1"
AGE_CLAIMS = "UPDATE notifier.notice SET claimed_at = claimed_at - $2::interval WHERE account_id = $1"


def granted(challenge: Challenge, **over: Any) -> AccessGranted:
    """Return the decision on a log-in from a new computer."""
    event = challenge.event
    fields: dict[str, Any] = {
        "request_id": event.request_id,
        "challenge_id": event.challenge_id,
        "account_id": event.account_id,
        "user_id": event.user_id,
        "number_id": event.number_id,
        "reasons": ["ip.new"],
    }
    return an_access_granted(**(fields | over))


async def test_everybody_is_told_once_however_often_the_topics_are_read(near: Neighbourhood, sns: SnsStandIn) -> None:
    """The setting to each member in their language, a replaced number to the old one; read again from the start."""
    anna = await near.person(locale="de")
    bob = await near.person(account_id=anna.account_id)
    stranger = await near.person()
    await near.db.execute(
        "UPDATE enrolment.phone_number SET state = 'replaced', ended_at = now() WHERE number_id = $1", bob.number_id
    )
    ids = {"account_id": anna.account_id, "user_id": bob.user_id, "old_number_id": bob.number_id}
    events = (
        a_two_factor_disabled(account_id=anna.account_id, version=1),
        a_number_replaced(**ids, version=2),
        a_number_replaced(**ids | {"user_id": anna.user_id}, version=3),  # not her number
    )
    async with near.notifier():
        await tell(near, *events, *events)
        before = await settled(near, anna.account_id, 2)
        await caught_up(near.servers, *TOPICS)
    await rewind(near.servers, *TOPICS)
    async with near.notifier():
        await tell(near, *events)
        await caught_up(near.servers, *TOPICS)
        await asyncio.sleep(1.5)  # one more look
    assert await notices_of(near, anna.account_id) == before
    assert {row["state"] for row in before} == {"accepted"}
    (german,), (english,) = received(sns, anna), received(sns, bob)
    assert german.startswith("Countersign: Zwei-Faktor ist jetzt aus.")
    assert english.startswith("Countersign: codes no longer go to this number")
    assert received(sns, stranger) == []


async def test_a_log_in_from_a_new_computer_and_wrong_codes_are_told_to_their_user(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """With the address, which the decision does not hold; not for a known place; not where no code of ours went."""
    ida, abe, kim = [await near.person() for _ in range(3)]
    new = near.challenge(ida, client=Client(ip="198.51.100.7"))
    absent, tried = near.challenge(ida, client=Client()), near.challenge(abe)
    known = near.challenge(kim)
    async with near.notifier():
        await near.issue(new, absent, tried, known)
        await near.settled(new, absent, tried, known)
        denied = granted(tried).model_dump(include={"request_id", "challenge_id", "account_id", "user_id", "number_id"})
        forged = granted(known, request_id=uuid4(), challenge_id=uuid4())
        await tell(
            near,
            granted(new),
            granted(absent, reasons=["ip.absent"]),
            granted(known, reasons=["ip.known"]),
            forged,
            an_access_denied(**denied, reason="code.exhausted"),
        )
        await settled(near, ida.account_id, 2)
        await settled(near, abe.account_id, 1)
        await caught_up(near.servers, *TOPICS)
        assert await notices_of(near, kim.account_id) == []
    end = "Not you? Contact your account manager."
    assert sorted(received(sns, ida)) == [
        f"Countersign: a new computer (198.51.100.7) logged in to your account. {end}",
        f"Countersign: a new computer logged in to your account. {end}",
    ]
    assert received(sns, abe) == [f"Countersign: too many wrong codes were entered for your account. {end}"]
    assert received(sns, kim) == []


async def test_what_is_an_hour_old_is_not_told(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Neither an event that comes so late, nor a notice that was due for so long."""
    old, waited, fresh = [await near.person() for _ in range(3)]
    async with near.notifier():
        await tell(near, a_two_factor_enabled(account_id=old.account_id), at=clock() - timedelta(minutes=61))
        await near.db.execute(
            "INSERT INTO notifier.notice (event_id, number_id, kind, account_id, user_id, void_at, created_at, due_at) "
            "SELECT $1, $2, 'login', $3, $4, now(), ago, ago FROM (SELECT now() - interval '1 hour') AS t (ago)",
            uuid4(),
            waited.number_id,
            waited.account_id,
            waited.user_id,
        )
        await tell(near, a_two_factor_enabled(account_id=fresh.account_id), at=clock() - timedelta(minutes=59))
        (ended,) = await settled(near, waited.account_id, 1)
        await settled(near, fresh.account_id, 1)
        await caught_up(near.servers, *TOPICS)
    assert (ended["state"], ended["reason"]) == ("suppressed", "late")
    assert await notices_of(near, old.account_id) == []
    assert [len(received(sns, person)) for person in (old, waited, fresh)] == [0, 0, 1]


async def test_at_most_a_fifth_of_the_rate_leaves_by_all_processes_together(
    near: Neighbourhood, sns: SnsStandIn
) -> None:
    """20 a second as shipped: in no second more than 4 notices, while a code leaves at once."""
    people = [await near.person()]
    people += [await near.person(account_id=people[0].account_id) for _ in range(14)]
    account_id = people[0].account_id
    async with near.notifier("t0"), near.notifier("t1"):
        await tell(near, a_two_factor_enabled(account_id=account_id))

        async def begun() -> bool:
            return bool(sns.notices)

        await eventually(begun, within=WITHIN)
        challenge = near.challenge(await near.person())
        await near.issue(challenge)
        await near.settled(challenge, within=5)
        assert len([row for row in await notices_of(near, account_id) if row["state"] == "due"]) > 0
        rows = await settled(near, account_id, 15)
    claimed = sorted(row["claimed_at"] for row in rows)
    assert all(later - earlier >= timedelta(seconds=1) for earlier, later in zip(claimed, claimed[4:], strict=False))
    assert Counter(text.number for text in sns.notices) == {person.number: 1 for person in people}


async def test_no_notice_leaves_while_a_code_waits(near: Neighbourhood, sns: SnsStandIn) -> None:
    """A code that is due and that nobody can take, as its row is locked; once it is gone the notice leaves."""
    person, challenge = await near.person(), near.challenge(await near.person())
    async with near.db.acquire() as db:
        async with near.notifier():
            await near.issue(challenge)
            await near.settled(challenge)
        await db.execute(WAIT, challenge.event.challenge_id)
        async with db.transaction():
            await db.execute(
                "SELECT FROM notifier.dispatch WHERE challenge_id = $1 FOR UPDATE", challenge.event.challenge_id
            )
            async with near.notifier():
                await tell(near, a_two_factor_enabled(account_id=person.account_id))
                await caught_up(near.servers, *TOPICS)
                await asyncio.sleep(2.5)
                assert [row["state"] for row in await notices_of(near, person.account_id)] == ["due"]
                await db.execute(GONE, challenge.event.challenge_id)
    async with near.notifier():
        await settled(near, person.account_id, 1)
    assert len(received(sns, person)) == 1


async def test_a_process_killed_before_it_settles_leaves_an_unknown_notice(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """SNS has the notice and does not answer; the next process ends the claim, and sends nothing again."""
    sns.otherwise = Reply.SILENCE
    person = await near.person()
    async with a_process(near, tmp_path) as (pid, _):
        ids = {"account_id": person.account_id, "user_id": person.user_id, "old_number_id": person.number_id}
        await tell(near, a_number_reset(**ids))

        async def arrived() -> bool:
            return bool(received(sns, person))

        await eventually(arrived, within=90)
        os.kill(pid, signal.SIGKILL)
    sns.otherwise = Reply.ACCEPTED
    async with near.notifier():
        await asyncio.sleep(2)
        assert [row["state"] for row in await notices_of(near, person.account_id)] == ["claimed"]
        await near.db.execute(AGE_CLAIMS, person.account_id, timedelta(seconds=31))
        (row,) = await settled(near, person.account_id, 1)
        await asyncio.sleep(1.5)
    assert (row["state"], row["reason"], row["segments"]) == ("unknown", "unsettled", 1)
    assert len(received(sns, person)) == 1


async def test_a_number_has_a_limit_of_its_own_and_notices_take_nothing_from_codes(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """One notice a day here: the second is suppressed, and the hour's one code leaves all the same."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S", notices_daily_max=1, number_hourly_max=1))
    person = await near.person()
    challenge = near.challenge(person)
    async with near.notifier():
        await tell(
            near,
            a_two_factor_enabled(account_id=person.account_id, version=1),
            a_two_factor_disabled(account_id=person.account_id, version=2),
        )
        rows = await settled(near, person.account_id, 2)
        await near.issue(challenge)
        (text,) = await near.settled(challenge)
    assert {(row["state"], row["reason"]) for row in rows} == {("accepted", None), ("suppressed", "number.day")}
    assert len(received(sns, person)) == 1
    assert text["state"] == "accepted"


async def test_a_notice_that_certainly_did_not_leave_leaves_later(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Throttled twice, then taken."""
    person = await near.person()
    sns.will_answer(person.number, Reply.THROTTLED, Reply.THROTTLED)
    async with near.notifier():
        await tell(near, a_two_factor_enabled(account_id=person.account_id))
        (row,) = await settled(near, person.account_id, 1)
    assert (row["state"], row["claims"]) == ("accepted", 3)
    assert len(received(sns, person)) == 3
