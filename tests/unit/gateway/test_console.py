"""The console's rules, and where a right password leads while a reset is open."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from countersign.client import RequestState
from services.gateway import words
from services.gateway.console.decide import (
    ON_ACCOUNT,
    ON_USER,
    held_until,
    locked_of,
    number_state,
    problems_of,
    shown_of,
)
from services.gateway.console.model import Account, ActDraft, ActForm, Member
from services.gateway.setup.decide import OpenReset, way_after_password

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("reset", "way"),
    [
        (None, "log_in"),
        (OpenReset(two_factor=False, anywhere=False, place_used=False), "log_in"),
        (OpenReset(two_factor=False, anywhere=True, place_used=True), "log_in"),
        (OpenReset(two_factor=True, anywhere=False, place_used=True), "set_up"),
        (OpenReset(two_factor=True, anywhere=True, place_used=False), "set_up"),
        (OpenReset(two_factor=True, anywhere=False, place_used=False), "refuse"),
    ],
)
def test_where_a_right_password_leads(reset: OpenReset | None, way: str) -> None:
    """On a protected account never to a session that can do more than enter a number."""
    assert way_after_password(reset) == way


@pytest.mark.parametrize(
    ("typed", "fields"),
    [
        (ActForm(reason="asked", ticket="S-1"), []),
        (ActForm(reason="x" * 500, ticket="x" * 100), []),
        (ActForm(reason="", ticket="S-1"), ["reason"]),
        (ActForm(reason="asked", ticket=""), ["ticket"]),
        (ActForm(reason="x" * 501, ticket="x" * 101), ["reason", "ticket"]),
    ],
)
def test_an_act_has_a_reason_and_a_ticket(typed: ActForm, fields: list[str]) -> None:
    """Each problem names its field and has words."""
    found = problems_of(typed)
    assert [one.field for one in found] == fields
    for language in words.load().values():
        assert all(language(one.key) for one in found)


def a_member(**over: object) -> Member:
    return Member.model_validate({"user_id": str(uuid4()), "role": "managed", "name": "Max", **over})


A_NUMBER = {"number_id": str(uuid4()), "state": "confirmed", "hint": "+61 ••••••••06", "since": "2026-03-02T12:00:00Z"}
A_RESET = {"at": "2026-03-02T12:00:00Z", "until": "2026-03-03T12:00:00Z", "anywhere": False}


@pytest.mark.parametrize(
    ("over", "state"),
    [
        ({"number": A_NUMBER}, "confirmed"),
        ({"number": A_NUMBER, "given_number": A_NUMBER}, "confirmed"),
        ({"given_number": A_NUMBER}, "given"),
        ({"reset": A_RESET}, "reset"),
        ({}, "none"),
    ],
)
def test_no_number_gets_to_the_console(over: dict[str, object], state: str) -> None:
    """What is kept of enrolment's answer says that there is one, and not a digit of it."""
    member = a_member(**over)
    assert number_state(member) == state
    assert "06" not in repr(member).replace(str(member.user_id), "")


def test_who_is_locked() -> None:
    """Whose last request was refused for wrong codes, unless an account manager unlocked them since."""
    locked, unlocked, fine = a_member(), a_member(unlocked_at=(NOON + HOUR).isoformat()), a_member()
    again = a_member(unlocked_at=(NOON - HOUR).isoformat())
    refused = {one.user_id: NOON for one in (locked, unlocked, again)}
    assert locked_of([locked, unlocked, fine, again], refused) == {locked.user_id, again.user_id}


def test_until_when_exports_are_held() -> None:
    """The longest hold of the account and its members that is not over."""
    member = a_member(exports_held_until=(NOON + HOUR).isoformat())
    account = Account(account_id=uuid4(), two_factor=True, members=[member, a_member()])
    assert held_until(account, NOON) == NOON + HOUR
    assert held_until(account, NOON + HOUR) is None
    longer = account.model_copy(update={"exports_held_until": NOON + 2 * HOUR})
    assert held_until(longer, NOON) == NOON + 2 * HOUR


DRAFT = ActDraft(
    request_id=uuid4(),
    req="r",
    kind="user.unlock",
    account_id=uuid4(),
    target=uuid4(),
    name="Max",
    anywhere=False,
    reason="asked",
    ticket="S-1",
    ip=None,
    locale="en",
    outcome=None,
    begun_at=NOON,
    now=NOON,
)


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [("done", "done"), ("carried_out", "done"), ("recorded", "recorded"), ("too_many_acts", "refused")],
)
def test_what_came_of_an_act_is_shown(outcome: str, shown: str) -> None:
    """Whatever the verifier says by then."""
    assert shown_of(replace(DRAFT, outcome=outcome), None) == shown


def test_an_act_that_waits() -> None:
    """A moment, and after two and a half minutes no longer."""
    undecided = RequestState.model_validate({"request_id": str(DRAFT.request_id), "state": "undecided"})
    assert shown_of(DRAFT, undecided) == "moment"
    assert shown_of(replace(DRAFT, now=NOON + timedelta(seconds=150)), undecided) == "given_up"


def test_each_act_has_its_words() -> None:
    """Title, body, what the code is for, and what was done."""
    for language in words.load().values():
        for kind in (*ON_ACCOUNT.values(), *ON_USER.values()):
            for part in ("title", "body", "code", "done"):
                assert language(f"console.act.{kind.replace('.', '_')}.{part}", name="Max")
