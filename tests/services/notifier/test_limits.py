"""Text limits hold whoever is at work: by number, by account, by country, and the gap between two texts."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.kafka import eventually
from tests.support.notifier import Neighbourhood, a_policy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.notifier import Challenge
    from tests.support.sns_stand_in import SnsStandIn

pytestmark = pytest.mark.servers


async def _flood(near: Neighbourhood, challenges: list[Challenge]) -> list[tuple[str, str | None]]:
    async with near.notifier("t0"), near.notifier("t1"):
        await near.issue(*challenges)
        rows = await near.settled(*challenges, within=60)
    return [(row["state"], row["reason"]) for row in rows]


async def test_a_number_gets_six_texts_an_hour_from_two_notifiers(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """60 challenges of 12 people who share a phone, at once: six leave, the others say when to try again."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S"))
    shared = secrets.token_bytes(32)
    people = [await near.person(fingerprint=shared) for _ in range(12)]
    challenges = [near.challenge(people[n % 12]) for n in range(60)]
    ends = await _flood(near, challenges)
    assert ends.count(("accepted", None)) == len(near.sent(sns, *challenges)) == 6
    assert ends.count(("suppressed", "number.hour")) == 54
    told = next(e for e in await near.deliveries(*challenges) if e["reason"] == "number.hour")
    wait = datetime.fromisoformat(told["retry_at"]) - (await near.settled(challenges[0]))[0]["settled_at"]
    assert timedelta(minutes=59) < wait <= timedelta(hours=1)


async def test_an_account_gets_30_and_3_a_member_an_hour_from_two_notifiers(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """An account of 20 people asks for 120 texts at once: 90 leave."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S"))
    account_id = uuid4()
    people = [await near.person(account_id=account_id) for _ in range(20)]
    challenges = [near.challenge(people[n % 20]) for n in range(120)]
    ends = await _flood(near, challenges)
    assert ends.count(("accepted", None)) == len(near.sent(sns, *challenges)) == 90
    assert ends.count(("suppressed", "account.hour")) == 30


async def test_within_the_gap_the_next_text_waits(near: Neighbourhood, sns: SnsStandIn, tmp_path: Path) -> None:
    """Two at once to one number: the second leaves, 3 s later, and says meanwhile why it waits."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT3S"))
    person = await near.person()
    challenges = [near.challenge(person), near.challenge(person)]
    async with near.notifier("t0"), near.notifier("t1"):
        await near.issue(*challenges)

        async def one_waits() -> bool:
            rows = [await near.dispatch(challenge) for challenge in challenges]
            return any(row and row["state"] == "due" and row["reason"] == "number.gap" for row in rows)

        await eventually(one_waits)
        rows = await near.settled(*challenges)
    assert [row["state"] for row in rows] == ["accepted"] * 2
    first, second = sorted(row["counted_at"] for row in rows)
    assert second - first >= timedelta(seconds=3)
    assert near.sent(sns, *challenges) == sorted(challenge.code for challenge in challenges)


async def test_a_country_that_the_policy_does_not_name_gets_no_text(
    near: Neighbourhood, sns: SnsStandIn, tmp_path: Path
) -> None:
    """As shipped: pumping pays in countries that nobody is in."""
    near = replace(near, policy_file=a_policy(tmp_path))
    challenge = near.challenge(await near.person(country="LV"))
    async with near.notifier():
        await near.issue(challenge)
        (told,) = await near.deliveries(challenge)
    assert (told["type"], told["reason"], told["country"], told["retry_at"]) == (
        "countersign.sms.suppressed.v1",
        "country",
        "LV",
        None,
    )
    assert near.sent(sns, challenge) == []


async def test_old_texts_are_forgotten(near: Neighbourhood) -> None:
    """After 40 days; younger ones stay."""
    old, young = near.challenge(await near.person()), near.challenge(await near.person())
    async with near.notifier():
        await near.issue(old, young)
        await near.settled(old, young)
    for challenge, days in ((old, 41), (young, 39)):
        await near.db.execute(
            "UPDATE notifier.dispatch SET created_at = now() - $2::interval WHERE challenge_id = $1",
            challenge.event.challenge_id,
            timedelta(days=days),
        )
    async with near.notifier():

        async def is_gone() -> bool:
            return await near.dispatch(old) is None

        await eventually(is_gone)
    assert await near.dispatch(young) is not None
