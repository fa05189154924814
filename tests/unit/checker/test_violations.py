"""The checker finds every violation that is planted, and nothing in a clean world."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support.checker import CHECKS, changes, violations
from tests.support.hand_made import Story, a_story
from tests.unit.checker import plants, text_plants

if TYPE_CHECKING:
    from collections.abc import Callable

PLANTED: tuple[tuple[int, Callable[[Story], object]], ...] = (
    (1, plants.granted_without_an_answer),
    (1, plants.granted_without_an_allow),
    (1, plants.granted_on_a_forged_allow),
    (1, plants.granted_by_another_key),
    (1, plants.export_granted_without_a_code),
    (1, plants.granted_from_a_new_place),
    (1, plants.file_without_a_grant),
    (1, plants.told_a_grant_of_nobody),
    (2, plants.decided_twice),
    (2, plants.granted_twice_with_other_grants),
    (2, plants.decided_and_never_published),
    (2, plants.published_and_not_stored),
    (3, plants.redeemed_twice),
    (3, plants.told_accepted_twice),
    (3, plants.told_accepted_and_was_not),
    (4, plants.six_tries),
    (4, plants.six_told),
    (4, plants.tries_not_counted),
    (5, text_plants.two_texts),
    (5, text_plants.text_of_no_challenge),
    (6, text_plants.claimed_too_late),
    (7, text_plants.seven_in_an_hour),
    (7, text_plants.sixteen_in_a_day),
    (7, text_plants.within_the_gap),
    (7, text_plants.too_many_for_an_account),
    (7, text_plants.seven_arrive_in_an_hour),
    (7, text_plants.five_of_the_reserve_in_an_hour),
    (7, text_plants.nine_of_the_reserve_in_a_day),
    (7, text_plants.reserve_of_an_account_used_up),
    (7, text_plants.reserve_used_by_a_text_that_may_not),
    (8, plants.never_assessed),
    (8, plants.never_decided),
    (8, plants.unreadable_and_kept_nowhere),
    (11, plants.code_on_a_topic),
    (11, plants.code_in_a_header),
    (11, plants.code_in_a_column),
    (11, plants.code_in_a_log),
    (11, plants.number_in_a_log),
    (11, plants.number_in_bytes),
    (11, plants.bearer_in_a_log),
    (11, plants.grant_in_a_log),
    (12, plants.judged_after_the_end),
    (12, plants.expired_before_the_end),
    (13, plants.outbox_left),
    (13, plants.setting_never_published),
    (13, plants.member_passed_over),
    (13, plants.waiting_export),
    *(
        (13, plants.offset_ahead(table))
        for table in (
            "risk_evaluator.assessment",
            "risk_evaluator.forgotten",
            "verifier.request",
            "notifier.dispatch",
            "notifier.notice",
            "enrolment.member",
            "gateway.ending",
        )
    ),
    (14, plants.still_claimed),
    (14, plants.doubt_called_accepted),
    (14, plants.reached_and_called_refused),
    (14, plants.accepted_and_never_sent),
    (14, plants.two_ends_on_the_topic),
    (14, plants.verifier_says_otherwise),
)


def test_a_clean_world_has_none() -> None:
    """Nothing is found where everything went well; each further case plants one thing in this world."""
    assert violations(a_story().world) == []


@pytest.mark.parametrize(("number", "plant"), PLANTED, ids=[f"{n}-{plant.__name__}" for n, plant in PLANTED])
def test_what_is_planted_is_found(number: int, plant: Callable[[Story], object]) -> None:
    """The check of that very invariant finds it."""
    story = a_story()
    plant(story)
    assert [found for found in violations(story.world) if found.startswith(f"{number}: ")]


def test_every_check_has_a_planted_violation() -> None:
    """No check is left that was never seen to find anything."""
    assert {number for number, _ in PLANTED} == CHECKS.keys()


def test_published_twice_is_one_event() -> None:
    """A record that a dying publisher repeated is no violation: it has the same id and says the same."""
    story = a_story()
    for topic, records in story.world.records.items():
        records.extend([replace(record, offset=len(records) + n) for n, record in enumerate(list(records))])
        assert topic
    assert violations(story.world) == []


def test_a_text_that_certainly_did_not_leave_may_be_sent_again() -> None:
    """A throttled publish is no text."""
    story = a_story()
    story.world.texts.insert(0, replace(plants.text(story), fate="not_sent"))
    assert violations(story.world) == []


def test_changes_are_found() -> None:
    """10. A row changed, a record more, a text more; a lease is no change."""
    story = a_story()
    story.made.add("verifier.outbox", event_id=1, leased_until=1)
    before = deepcopy(story.world)
    story.made.row("verifier.outbox", event_id=1)["leased_until"] = 2
    assert changes(before, story.world) == []
    plants.dispatch(story)["reason"] = "again"
    assert [found.split(": ")[1] for found in changes(before, story.world)] == ["notifier.dispatch"]
    text_plants.two_texts(story)
    plants.member_passed_over(story)
    assert len(changes(before, story.world)) == 3


def test_a_letter_is_a_change_unless_it_has_waited_for_its_key() -> None:
    """Services that start while the verifier starts cannot fetch its keys yet: such grants are folded seconds later."""
    story = a_story()
    before = deepcopy(story.world)
    story.made.add("exports.dead_letter", kind="key_unknown", state="done")
    assert changes(before, story.world) == []
    for kind, state in (("key_unknown", "redrive"), ("bug", "done")):
        changed = deepcopy(story)
        changed.made.add("exports.dead_letter", kind=kind, state=state)
        assert len(changes(before, changed.world)) == 1
