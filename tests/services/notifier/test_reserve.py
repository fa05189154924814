"""What a thief with the password cannot use up: the texts asked for from places that the account knows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.support.notifier import a_policy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.notifier import Challenge, Neighbourhood
    from tests.support.sns_stand_in import SnsStandIn

pytestmark = pytest.mark.servers

# A text that left 2 hours ago was counted by the day and no longer by the hour.
EARLIER = "UPDATE notifier.dispatch SET counted_at = counted_at - interval '2 hours' WHERE account_id = $1"


async def _ends(near: Neighbourhood, challenges: list[Challenge]) -> list[tuple[str, str | None]]:
    await near.issue(*challenges)
    return [(row["state"], row["reason"]) for row in await near.settled(*challenges, within=60)]


async def test_after_15_texts_asked_for_from_new_places_the_known_place_still_gets_its_texts(
    near: Neighbourhood, tmp_path: Path
) -> None:
    """The attack: the day's 15 are used up, and the owner exports from the known place, six times in the hour."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S"))
    owner = await near.person()
    async with near.notifier("t0"), near.notifier("t1"):
        for texts in (6, 6, 3):
            thief = [near.challenge(owner) for _ in range(texts)]
            assert await _ends(near, thief) == [("accepted", None)] * texts
            await near.db.execute(EARLIER, owner.account_id)
        assert await _ends(near, [near.challenge(owner)]) == [("suppressed", "number.day")]
        exports = [near.challenge(owner, action="export", reserved=True) for _ in range(6)]
        ends = await _ends(near, exports)
        assert (ends.count(("accepted", None)), ends.count(("suppressed", "number.hour"))) == (4, 2)
        assert await _ends(near, [near.challenge(owner)]) == [("suppressed", "number.day")]


async def test_two_notifiers_keep_to_limit_and_reserve(near: Neighbourhood, sns: SnsStandIn, tmp_path: Path) -> None:
    """30 ordinary and 30 reserved texts to one number at once: ten leave, at most six of them ordinary."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S"))
    owner = await near.person()
    challenges = [near.challenge(owner, reserved=n % 2 == 1) for n in range(60)]
    async with near.notifier("t0"), near.notifier("t1"):
        ends = await _ends(near, challenges)
    left = [challenge for challenge, end in zip(challenges, ends, strict=True) if end == ("accepted", None)]
    assert len(left) == len(near.sent(sns, *challenges)) == 10
    assert sum(not challenge.event.reserved for challenge in left) <= 6


async def test_an_account_whose_budget_is_used_up_has_a_reserve(near: Neighbourhood, tmp_path: Path) -> None:
    """Of two people, 36 an hour from new places; then 12 more from known ones, and no others."""
    near = replace(near, policy_file=a_policy(tmp_path, gap="PT0S", number_hourly_max=100, number_daily_max=100))
    account_id = uuid4()
    stolen, owner = [await near.person(account_id=account_id) for _ in range(2)]
    async with near.notifier("t0"), near.notifier("t1"):
        ends = await _ends(near, [near.challenge(stolen) for _ in range(40)])
        assert ends.count(("suppressed", "account.hour")) == 4
        assert await _ends(near, [near.challenge(owner, reserved=True)]) == [("accepted", None)]
        assert await _ends(near, [near.challenge(owner)]) == [("suppressed", "account.hour")]
