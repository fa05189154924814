"""The rules: the rows that people should know by heart, and then every row there is."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

import pytest

from countersign.contract import Action, Role
from countersign.policy import Policy
from services.risk_evaluator.decide import RULES, assess, clock_error
from services.risk_evaluator.model import Beliefs
from tests.support.events import an_access_requested, incoming

if TYPE_CHECKING:
    from countersign.contract import AccessRequested
    from countersign.runtime.messages.record import Incoming
    from services.risk_evaluator.model import Assessment

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy(version="test")
PLACE = "203.0.113.7/32"


def a_request(action: Action = "login", *, age: timedelta = timedelta(0)) -> Incoming[AccessRequested]:
    event = an_access_requested(action=action)
    return incoming(event, at=NOON - age, appended_at=min(NOON, NOON - age))


def beliefs(**over: Any) -> Beliefs:
    """Return a managed user of a protected account with a confirmed number, at a new place."""
    fields: dict[str, Any] = {
        "role": "managed",
        "two_factor": True,
        "number": "confirmed",
        "named_number_usable": False,
        "exports_held_until": None,
        "place": PLACE,
        "place_known": False,
    }
    return Beliefs(**(fields | over))


def told(assessment: Assessment) -> str:
    return f"{assessment.outcome}: {' '.join(assessment.reasons)}"


OFF: dict[str, Any] = {"two_factor": False}
KNOWN: dict[str, Any] = {"place_known": True}
ABSENT: dict[str, Any] = {"place": None}
GIVEN: dict[str, Any] = {"number": "provided"}
NUMBERLESS: dict[str, Any] = {"number": None}
STRANGER: dict[str, Any] = {"role": None, "two_factor": False, "number": None}
STAFF: dict[str, Any] = {"role": "account_manager"}
HELD: dict[str, Any] = {"exports_held_until": NOON + timedelta(seconds=1)}
HELD_UNTIL_NOW: dict[str, Any] = {"exports_held_until": NOON}
NAMED: dict[str, Any] = {"named_number_usable": True}


@pytest.mark.parametrize(
    ("action", "held", "says"),
    [
        # M1, M2: a login from a new computer asks for a code, from a known one it does not.
        ("login", {}, "challenge: ip.new"),
        ("login", KNOWN, "allow: ip.known"),
        ("login", ABSENT, "challenge: ip.absent"),
        ("login", OFF, "allow: two_factor.off"),
        ("login", OFF | KNOWN, "allow: two_factor.off"),
        ("login", OFF | ABSENT | NUMBERLESS, "allow: two_factor.off"),
        # M3: every export of a protected account, from a known place too.
        ("export", {}, "challenge: export.always"),
        ("export", KNOWN, "challenge: export.always"),
        ("export", OFF, "allow: two_factor.off"),
        # M13: the first code confirms a number that was merely given. Without any number there is no way past a code.
        ("login", GIVEN, "challenge: ip.new"),
        ("export", GIVEN, "challenge: export.always"),
        ("login", NUMBERLESS, "deny: ip.new number.missing"),
        ("login", NUMBERLESS | ABSENT, "deny: ip.absent number.missing"),
        ("login", NUMBERLESS | KNOWN, "allow: ip.known"),
        ("export", NUMBERLESS | KNOWN, "deny: export.always number.missing"),
        # M10, M12: confirming goes to the number that is named, changing to the one in force.
        ("confirm_number", NAMED, "challenge: action.always"),
        ("confirm_number", NAMED | OFF | NUMBERLESS, "challenge: action.always"),
        ("confirm_number", {}, "deny: action.always number.unknown"),
        ("change_number", {}, "challenge: action.always"),
        ("change_number", OFF | KNOWN, "challenge: action.always"),
        ("change_number", GIVEN, "deny: action.always number.missing"),
        ("change_number", NUMBERLESS, "deny: action.always number.missing"),
        ("manage_member", OFF, "challenge: action.always"),
        ("manage_member", GIVEN, "deny: action.always number.missing"),
        # M15: an account manager gives a code at every login and for every act, whatever the setting.
        ("login", STAFF | OFF | KNOWN, "challenge: action.always"),
        ("login", STAFF | OFF | GIVEN, "challenge: action.always"),
        ("login", STAFF | OFF | KNOWN | NUMBERLESS, "deny: action.always number.missing"),
        ("manager_act", STAFF | OFF | KNOWN, "challenge: action.always"),
        ("manager_act", STAFF | GIVEN, "deny: action.always number.missing"),
        # Held exports, also where turning off is what holds them; to the last microsecond and no longer.
        ("export", HELD, "deny: export.always number.recent"),
        ("export", HELD | OFF, "deny: two_factor.off number.recent"),
        ("export", HELD_UNTIL_NOW, "challenge: export.always"),
        ("login", HELD | KNOWN, "allow: ip.known"),
        # Nobody we know: nothing else is said of them.
        ("login", STRANGER, "deny: member.unknown"),
        ("login", STRANGER | KNOWN, "deny: member.unknown"),
        ("export", STRANGER, "deny: member.unknown"),
        ("confirm_number", STRANGER, "deny: member.unknown"),
        ("manager_act", STRANGER, "deny: member.unknown"),
    ],
)
def test_a_row_to_know_by_heart(action: Action, held: dict[str, Any], says: str) -> None:
    """Who asks for what, and what they are told."""
    assert told(assess(a_request(action), beliefs(**held), POLICY, NOON)) == says


@pytest.mark.parametrize(
    ("ce_time", "appended_at", "says"),
    [
        (timedelta(0), timedelta(0), "allow: ip.known"),
        (timedelta(minutes=-2), timedelta(0), "allow: ip.known"),
        (timedelta(minutes=-2, microseconds=-1), timedelta(0), "deny: request.stale ip.known"),
        # The older of the two clocks counts, so a requester that is ahead does not make its request younger.
        (timedelta(0), timedelta(minutes=-2, microseconds=-1), "deny: request.stale ip.known"),
        (timedelta(seconds=30), timedelta(0), "allow: ip.known"),
        (timedelta(seconds=30, microseconds=1), timedelta(0), "deny: request.future ip.known"),
        (timedelta(hours=1), timedelta(minutes=-3), "deny: request.stale request.future ip.known"),
    ],
)
def test_a_request_is_acted_on_for_two_minutes(ce_time: timedelta, appended_at: timedelta, says: str) -> None:
    """Each limit from both sides."""
    asked = incoming(an_access_requested(), at=NOON + ce_time, appended_at=NOON + appended_at)
    assert told(assess(asked, beliefs(place_known=True), POLICY, NOON)) == says


@pytest.mark.parametrize(
    ("ce_time", "appended_at", "error"),
    [
        (timedelta(minutes=-2), timedelta(0), None),
        (timedelta(minutes=-2, microseconds=-1), timedelta(0), timedelta(minutes=-2, microseconds=-1)),
        (timedelta(seconds=30), timedelta(0), None),
        (timedelta(seconds=30, microseconds=1), timedelta(0), timedelta(seconds=30, microseconds=1)),
        # What lay on the topic for long is old, and nobody's clock is to blame.
        (timedelta(minutes=-5), timedelta(minutes=-5), None),
        (timedelta(minutes=-9), timedelta(minutes=-5), None),
    ],
)
def test_a_producer_whose_clock_is_wrong_is_told_from_a_request_that_waited(
    ce_time: timedelta, appended_at: timedelta, error: timedelta | None
) -> None:
    """Each limit from both sides."""
    asked = incoming(an_access_requested(), at=NOON + ce_time, appended_at=NOON + appended_at)
    assert clock_error(asked, POLICY, NOON) == error


def oracle(action: str, row: dict[str, Any], age: timedelta) -> str:  # noqa: C901, PLR0912 - plain on purpose
    """Say the same as the rules in another way: one question after the other, by action."""
    deny, ask, allow = [], [], []
    if age > timedelta(minutes=2):
        deny.append("request.stale")
    if age < timedelta(seconds=-30):
        deny.append("request.future")
    if row["role"] is None:
        deny.append("member.unknown")
    elif action == "login":
        if row["role"] == "account_manager":
            ask.append("action.always")
        elif not row["two_factor"]:
            allow.append("two_factor.off")
        elif row["place_known"]:
            allow.append("ip.known")
        elif row["place"] is None:
            ask.append("ip.absent")
        else:
            ask.append("ip.new")
        if ask and row["number"] is None:
            deny.append("number.missing")
    elif action == "export":
        if row["two_factor"]:
            ask.append("export.always")
            if row["number"] is None:
                deny.append("number.missing")
        else:
            allow.append("two_factor.off")
        if row["exports_held_until"]:
            deny.append("number.recent")
    elif action == "confirm_number":
        ask.append("action.always")
        if not row["named_number_usable"]:
            deny.append("number.unknown")
    else:
        ask.append("action.always")
        if row["number"] != "confirmed":
            deny.append("number.missing")
    order: list[str] = [rule.reason for rule in RULES]
    outcome = "deny" if deny else "challenge" if ask else "allow"
    return f"{outcome}: {' '.join(sorted(deny + ask + allow, key=order.index))}"


AGES = (timedelta(0), timedelta(minutes=3), timedelta(minutes=-1))
PLACES: tuple[dict[str, Any], ...] = (
    {"place": PLACE, "place_known": True},
    {"place": PLACE, "place_known": False},
    {"place": None, "place_known": False},
)


@pytest.mark.parametrize("two_factor", [True, False])
@pytest.mark.parametrize("action", get_args(Action))
def test_every_row_is_what_plain_words_say(action: Action, two_factor: bool) -> None:
    """5,184 rows: action, two-factor, place, number, age, membership and role, number named, exports held."""
    rows = itertools.product(
        PLACES,
        ("confirmed", "provided", None),
        AGES,
        (*get_args(Role), None),
        (True, False),
        (NOON + timedelta(hours=1), None),
    )
    count = 0
    for place, number, age, role, named, held_until in rows:
        row: dict[str, Any] = {
            "two_factor": two_factor,
            "number": number,
            "role": role,
            "named_number_usable": named,
            "exports_held_until": held_until,
            **place,
        }
        assessment = assess(a_request(action, age=age), beliefs(**row), POLICY, NOON)
        assert told(assessment) == oracle(action, row, age), (action, row, age)
        assert assessment.reasons, "some rule always fires: nothing is decided without a reason"
        count += 1
    assert count == 432


def test_an_allow_never_comes_with_a_harder_reason() -> None:
    """The severest wins: an allow has reasons that allow, and no others."""
    outcomes = {rule.reason: rule.outcome for rule in RULES}
    assert len(outcomes) == len(RULES)
    assessment = assess(a_request(), beliefs(place_known=True), POLICY, NOON)
    assert {outcomes[reason] for reason in assessment.reasons} == {"allow"}
