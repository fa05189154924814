"""Violations of invariants 5 to 7, planted: texts and their limits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.unit.checker.plants import dispatch, text

if TYPE_CHECKING:
    from tests.support.hand_made import Story


def two_texts(story: Story) -> None:
    story.world.texts.append(text(story))


def text_of_no_challenge(story: Story) -> None:
    story.world.texts.append(replace(text(story), code="12345678"))


def claimed_too_late(story: Story) -> None:
    row = dispatch(story)
    row["counted_at"] = row["expires_at"] - timedelta(seconds=4)


def seven_in_an_hour(story: Story) -> None:
    _further_texts(story, 6, timedelta(minutes=9))


def sixteen_in_a_day(story: Story) -> None:
    _further_texts(story, 15, timedelta(minutes=59))


def within_the_gap(story: Story) -> None:
    story.world.limits = story.world.limits.model_copy(update={"gap": timedelta(seconds=20)})
    _further_texts(story, 1, timedelta(seconds=19))


def too_many_for_an_account(story: Story) -> None:
    for nth in range(34):
        row = {"number_fingerprint": nth.to_bytes(32, "big"), "challenge_id": uuid4()}
        story.made.add("notifier.dispatch", **(dispatch(story) | row))


def seven_arrive_in_an_hour(story: Story) -> None:
    for _ in range(6):
        story.made.send(story.by_code, 2 + len(story.made.codes))
    for row in story.world.table("notifier.dispatch"):
        row["counted_at"] = None


def five_of_the_reserve_in_an_hour(story: Story) -> None:
    _further_texts(story, 5, timedelta(minutes=11), reserved=True, from_reserve=True)


def nine_of_the_reserve_in_a_day(story: Story) -> None:
    _further_texts(story, 9, timedelta(hours=2), reserved=True, from_reserve=True)


def reserve_of_an_account_used_up(story: Story) -> None:
    for nth in range(12):
        row = {"number_fingerprint": nth.to_bytes(32, "big"), "challenge_id": uuid4()}
        story.made.add("notifier.dispatch", **(dispatch(story) | row | {"reserved": True, "from_reserve": True}))


def reserve_used_by_a_text_that_may_not(story: Story) -> None:
    dispatch(story)["from_reserve"] = True


def _further_texts(story: Story, number: int, every: timedelta, **over: Any) -> None:
    first = dispatch(story)
    for nth in range(1, number + 1):
        at = first["counted_at"] + nth * every
        row = {"challenge_id": uuid4(), "counted_at": at, "expires_at": at + timedelta(minutes=5)}
        story.made.add("notifier.dispatch", **(first | row | over))
