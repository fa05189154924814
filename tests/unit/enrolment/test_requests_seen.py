"""Which steps of a story an account manager sees, and which details of each: pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from countersign.timeline.story import Step, Story
from services.enrolment.requests_seen.decide import request_seen, timeline_seen

if TYPE_CHECKING:
    from uuid import UUID

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
REQUEST, ACCOUNT, STAFF, USER = uuid4(), uuid4(), uuid4(), uuid4()


def a_step(what: str, account_id: UUID = ACCOUNT, seconds: int = 0, **detail: Any) -> Step:
    return Step(
        service="verifier",
        at=NOON + timedelta(seconds=seconds),
        what=what,
        detail=detail,
        request_id=REQUEST,
        challenge_id=None,
        account_id=account_id,
        user_id=USER,
    )


def seen(story: Story, account_id: UUID = ACCOUNT) -> list[str] | None:
    found = timeline_seen(REQUEST, story, account_id, NOON)
    return None if found is None else [step.what for step in found.steps]


def test_details_are_named_one_by_one() -> None:
    """What is not named is left out: a column that a view gets later, the masked number, the country, an id."""
    story = Story(
        (
            a_step("requested", action="login"),
            a_step("challenged", number="+61 ••••••••06", attempts_max=5, attempts=0, expires_at=NOON.isoformat()),
            a_step("text.accepted", send=1, country="AU", provider_message_id="x", segments=1),
            a_step("of.tomorrow", secret="x"),
        )
    )
    found = timeline_seen(REQUEST, story, ACCOUNT, NOON)
    assert found is not None
    assert [step.detail for step in found.steps] == [
        {"action": "login"},
        {"expires_at": NOON.isoformat(), "attempts_max": 5},
        {"send": 1},
        {},
    ]


def test_the_gap_is_to_the_step_before_that_is_shown() -> None:
    """A step of another account between two of this one is no part of the time line."""
    story = Story(
        (a_step("requested", action="login"), a_step("taken", STAFF, 1, action="login"), a_step("denied", seconds=3))
    )
    found = timeline_seen(REQUEST, story, ACCOUNT, NOON)
    assert found is not None
    assert [(step.what, step.after_ms) for step in found.steps] == [("requested", None), ("denied", 3000.0)]


def test_each_account_sees_its_own_steps() -> None:
    """Two accounts that used one request id: neither hides the other's request, and neither sees it."""
    story = Story((a_step("requested", STAFF, action="login"), a_step("export.asked", seconds=1)))
    assert seen(story) == ["export.asked"]
    assert seen(story, STAFF) == ["requested"]
    assert seen(story, uuid4()) is None


def test_an_act_is_a_request_of_the_staff_account_alone() -> None:
    """Its last step names the customer's account; there it is no request, and in the staff's it is shown."""
    story = Story((a_step("requested", STAFF, action="manager_act"), a_step("manager.done", seconds=1, ticket="SUP-1")))
    assert seen(story) is None
    assert seen(story, STAFF) == ["requested", "manager.done"]


def test_what_an_export_asks_for_is_an_export() -> None:
    """Exports says no action; and who asked is who began."""
    request = request_seen(REQUEST, Story((a_step("export.asked", rows=3),)), ACCOUNT, NOON + timedelta(seconds=9))
    assert request is not None
    assert (request.action, request.user_id, request.outcome.kind) == ("export", USER, "unassessed")
    assert request.outcome.seconds == 9
