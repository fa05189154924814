"""Who may change whose number, and which code that needs: a table, without a fake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.enrolment.model import Member, Number, OwnRequest, Profile
from services.enrolment.setup import decide
from services.enrolment.setup.decide import SetupRefusedError
from services.enrolment.setup.model import Plan, Standing

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ACCOUNT, OWNER, USER = uuid4(), uuid4(), uuid4()
ENTERED, OTHER = b"entered", b"other"


def a_member(user_id: UUID, role: Any = "managed", account_id: UUID = ACCOUNT) -> Member:
    return Member(user_id, account_id, 1, Profile(role, "Ben"))


def a_number(state: Any, **over: Any) -> Number:
    fields: dict[str, Any] = {"number_id": uuid4(), "user_id": USER, "account_id": ACCOUNT, "provided_at": NOON}
    return Number(state=state, **(fields | over))


def a_standing(actor: Member | None, *numbers: tuple[Number, bytes], **over: Any) -> Standing:
    fields: dict[str, Any] = {
        "actor": actor,
        "target": a_member(USER),
        "two_factor": True,
        "actor_confirmed": True,
        "numbers": tuple(number for number, _ in numbers),
        "fingerprints": {number.number_id: fingerprint for number, fingerprint in numbers},
    }
    return Standing(**(fields | over))


MYSELF, BOSS = a_member(USER), a_member(OWNER, "owner")
GIVEN, IN_FORCE = a_number("provided"), a_number("confirmed")


@pytest.mark.parametrize(
    ("standing", "planned"),
    [
        (a_standing(MYSELF, two_factor=False), Plan(needs="confirm_number", keep=True)),
        (a_standing(MYSELF, (GIVEN, ENTERED)), Plan(needs="confirm_number", keep=True)),
        # No owner approved this number: the contacts stay where they are for a day.
        (a_standing(MYSELF), Plan(needs="confirm_number", keep=True, hold=True)),
        (a_standing(MYSELF, (GIVEN, OTHER)), Plan(needs="confirm_number", keep=True, hold=True)),
        (a_standing(MYSELF, (GIVEN, OTHER), two_factor=False), Plan(needs="confirm_number", keep=True)),
        (a_standing(MYSELF, (IN_FORCE, OTHER)), Plan(needs="change_number", keep=False)),
        (a_standing(MYSELF, (IN_FORCE, OTHER), two_factor=False), Plan(needs="change_number", keep=False)),
        (a_standing(BOSS, two_factor=False), Plan(needs=None, keep=True)),
        (a_standing(BOSS), Plan(needs="manage_member", keep=False)),
        (a_standing(BOSS, (GIVEN, OTHER)), Plan(needs="manage_member", keep=False)),
    ],
)
def test_what_follows_from_a_number(standing: Standing, planned: Plan) -> None:
    """Own numbers and those of others, with two-factor on and off."""
    assert decide.plan(standing, ENTERED) == planned


@pytest.mark.parametrize(
    ("standing", "kind"),
    [
        (a_standing(MYSELF, (IN_FORCE, ENTERED)), "same_number"),
        (a_standing(BOSS, (IN_FORCE, OTHER)), "number_in_force"),
        (a_standing(BOSS, (IN_FORCE, OTHER), two_factor=False), "number_in_force"),
        (a_standing(BOSS, actor_confirmed=False), "number_missing"),
        (a_standing(a_member(OWNER)), "actor_not_allowed"),
        (a_standing(a_member(OWNER, "account_manager")), "actor_not_allowed"),
        (a_standing(a_member(OWNER, "owner", uuid4())), "actor_not_allowed"),
        (a_standing(Member(OWNER, ACCOUNT, 2, None, removed=True)), "actor_not_allowed"),
        (a_standing(None), "actor_not_allowed"),
        (a_standing(BOSS, target=None), "user_unknown"),
        (a_standing(MYSELF, target=Member(USER, ACCOUNT, 2, None, removed=True)), "user_unknown"),
    ],
)
def test_who_may_not(standing: Standing, kind: str) -> None:
    """Each in a word of its own."""
    with pytest.raises(SetupRefusedError) as refused:
        decide.plan(standing, ENTERED)
    assert refused.value.kind == kind


def a_request(action: str, by: UUID, **over: Any) -> OwnRequest:
    fields: dict[str, Any] = {"request_id": uuid4(), "account_id": ACCOUNT, "user_id": by, "digest": "D" * 43}
    return OwnRequest(action=action, **(fields | over))


@pytest.mark.parametrize(
    ("standing", "request_", "outcome"),
    [
        (
            a_standing(MYSELF, (IN_FORCE, OTHER)),
            a_request("change_number", USER, old_number_id=IN_FORCE.number_id),
            True,
        ),
        (a_standing(MYSELF, (IN_FORCE, OTHER)), a_request("change_number", USER, old_number_id=uuid4()), False),
        (a_standing(MYSELF), a_request("change_number", USER, old_number_id=IN_FORCE.number_id), False),
        (
            a_standing(BOSS, (IN_FORCE, OTHER)),
            a_request("change_number", USER, old_number_id=IN_FORCE.number_id),
            False,
        ),
        (a_standing(BOSS), a_request("manage_member", OWNER), True),
        (a_standing(BOSS, (IN_FORCE, OTHER)), a_request("manage_member", OWNER), False),
        (a_standing(MYSELF), a_request("manage_member", OWNER), False),
        (a_standing(a_member(OWNER)), a_request("manage_member", OWNER), False),
        (a_standing(MYSELF), a_request("confirm_number", USER), False),
    ],
)
def test_what_an_accepted_code_lets_in(standing: Standing, request_: OwnRequest, outcome: bool) -> None:
    """Only what was true when the request was made, brought along by whoever made it."""
    if outcome:
        assert decide.redeemed(standing, request_).keep
    else:
        with pytest.raises(SetupRefusedError):
            decide.redeemed(standing, request_)


@pytest.mark.parametrize(
    ("numbers", "age", "may"),
    [
        ((GIVEN,), timedelta(days=90), True),
        ((GIVEN, IN_FORCE), decide.CHANGE_APPROVED_FOR - timedelta(seconds=1), True),
        ((GIVEN, IN_FORCE), decide.CHANGE_APPROVED_FOR, False),
        ((IN_FORCE,), timedelta(0), False),
        ((), timedelta(0), False),
    ],
)
def test_which_given_number_is_confirmed_later(numbers: tuple[Number, ...], age: timedelta, may: bool) -> None:
    """Beside a number in force the approval of the change ends."""
    standing = a_standing(MYSELF, *((number, OTHER) for number in numbers))
    if may:
        assert decide.confirms_own(standing, NOON + age) is GIVEN
    else:
        with pytest.raises(SetupRefusedError):
            decide.confirms_own(standing, NOON + age)
