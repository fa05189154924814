"""The floor under assessments, forged or mistaken: what follows, and why; without a single fake."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from countersign.policy import RequestLimits
from countersign.runtime.errors import OffContractError
from services.verifier.decide_assessment import ALWAYS, take
from services.verifier.model import Allow, Beliefs, Counter, Deny, Open, Taken
from tests.support.challenges import (
    ACCOUNT,
    MINUTE,
    NOON,
    NUMBER,
    OTHER,
    REQUEST,
    SECOND,
    USER,
    a_number,
    a_protection,
    beliefs,
)
from tests.support.events import an_access_assessed

LIMITS = RequestLimits()
TICK = timedelta(microseconds=1)
ACTIONS = ("login", "export", "confirm_number", "change_number", "manage_member", "manager_act")
GIVEN = a_number(state="provided")


def taken(known: Beliefs | None = None, *, made_at: Any = NOON, **over: Any) -> Taken:
    """Take a fresh assessment of a login, `allow` for a known place unless it is said otherwise."""
    fields: dict[str, Any] = {
        "request_id": REQUEST,
        "account_id": ACCOUNT,
        "user_id": USER,
        "outcome": "allow",
        "reasons": ["ip.known"],
        "place_known": True,
        "requested_at": NOON,
    }
    event = an_access_assessed(**(fields | over))
    return take(event, known or beliefs(), LIMITS, NOON, made_at=made_at)


def word(one: Taken) -> str:
    """Return `allow`, `challenge`, or the reason of the denial."""
    match one.ending:
        case Allow():
            return "allow"
        case Open():
            return "challenge"
        case Deny(reason):
            return reason


def floored(action: str, role: str, two_factor: bool, place_known: bool) -> str:
    """Say what an `allow` must come to, in the words of the design."""
    if action in ALWAYS or (action == "login" and role == "account_manager"):
        return "challenge"
    if action == "export":
        return "challenge" if two_factor else "allow"
    return "allow" if place_known or not two_factor else "challenge"


@pytest.mark.parametrize(
    ("action", "role", "two_factor", "place_known"),
    list(itertools.product(ACTIONS, ("owner", "managed", "account_manager"), (True, False), (True, False))),
)
def test_an_allow_is_honoured_only_where_the_verifier_would_allow(
    action: str, role: str, two_factor: bool, place_known: bool
) -> None:
    """Every action, role and setting against a forged `allow`."""
    known = beliefs(protection=a_protection(role=role, two_factor=two_factor), asked_number=a_number())
    reasons = ["ip.known"] if place_known else ["two_factor.off"]
    one = taken(
        known,
        action=action,
        place_known=place_known,
        reasons=reasons,
        number_id=NUMBER if action == "confirm_number" else None,
    )
    assert word(one) == floored(action, role, two_factor, place_known)


@pytest.mark.parametrize(
    ("over", "fell"),
    [
        ({"reasons": ["two_factor.off"]}, ("two_factor.off", "ip.new")),
        ({"reasons": []}, ("ip.new",)),
        ({"reasons": ["ip.new"]}, ("ip.new",)),
        ({"reasons": ["ip.known"], "place_known": False}, ("ip.known", "ip.new")),
        ({"reasons": ["ip.known"], "place": None}, ("ip.known", "ip.absent")),
    ],
)
def test_a_protected_login_is_allowed_for_a_known_place_alone(over: dict[str, Any], fell: tuple[str, ...]) -> None:
    """Two-factor is on as the verifier reads it: no other reason opens, and what fell is told."""
    one = taken(**over)
    assert (word(one), one.reasons) == ("challenge", fell)


@pytest.mark.parametrize(
    ("requested", "made", "expected"),
    [
        (NOON - 2 * MINUTE, NOON, "allow"),
        (NOON - 2 * MINUTE - TICK, NOON, "request.stale"),
        (NOON, NOON - 2 * MINUTE, "allow"),
        (NOON, NOON - 2 * MINUTE - TICK, "request.stale"),
        (NOON + 30 * SECOND, NOON, "allow"),
        (NOON + 30 * SECOND + TICK, NOON, "request.future"),
    ],
)
def test_age_is_judged_again(requested: Any, made: Any, expected: str) -> None:
    """By what the evaluator says, and by the assessment's own age: a replayed one opens nothing."""
    assert word(taken(requested_at=requested, made_at=made)) == expected


@pytest.mark.parametrize("outcome", ["allow", "challenge", "deny"])
def test_nobody_but_a_member_gets_anything(outcome: str) -> None:
    """Removed, or of another account: the view has no such row."""
    one = taken(beliefs(protection=None), outcome=outcome, reasons=["member.unknown"])
    assert word(one) == "member.unknown"


@pytest.mark.parametrize(
    ("held_until", "two_factor", "expected"),
    [
        (NOON + TICK, True, "number.recent"),
        (NOON + TICK, False, "number.recent"),
        (NOON, True, "challenge"),
        (NOON, False, "allow"),
        (None, True, "challenge"),
    ],
)
def test_held_exports_are_denied(held_until: Any, two_factor: bool, expected: str) -> None:
    """Also where two-factor was just turned off."""
    known = beliefs(protection=a_protection(two_factor=two_factor, exports_held_until=held_until))
    assert word(taken(known, action="export", reasons=["two_factor.off"])) == expected
    login = beliefs(protection=a_protection(two_factor=two_factor, exports_held_until=held_until))
    assert word(taken(login)) == "allow"


@pytest.mark.parametrize("reason", ["request.stale", "member.unknown", "number.missing", "number.recent"])
def test_a_denial_stands(reason: str) -> None:
    """The severest wins: the floor never lifts."""
    assert word(taken(outcome="deny", reasons=["ip.new", reason])) == reason


def test_a_denial_without_a_reason_is_off_contract() -> None:
    """There is no word to tell anybody."""
    with pytest.raises(OffContractError, match="reasons"):
        taken(outcome="deny", reasons=["ip.new"])


def test_a_challenge_stands_though_two_factor_is_off() -> None:
    """The evaluator may be stricter than the floor."""
    known = beliefs(protection=a_protection(two_factor=False))
    assert word(taken(known, outcome="challenge", reasons=["ip.new"])) == "challenge"


@pytest.mark.parametrize(
    ("action", "in_force", "asked", "asked_id", "expected"),
    [
        ("login", a_number(), None, None, NUMBER),
        ("login", GIVEN, None, None, NUMBER),
        ("export", GIVEN, None, None, NUMBER),
        ("login", None, None, None, "number.missing"),
        ("login", a_number(state="reset"), None, None, "number.missing"),
        ("login", a_number(), a_number(number_id=OTHER, state="provided"), OTHER, NUMBER),
        ("login", a_number(), None, OTHER, "number.unknown"),
        ("login", a_number(), a_number(number_id=OTHER, user_id=OTHER), OTHER, "number.unknown"),
        ("change_number", a_number(), a_number(number_id=OTHER, state="provided"), OTHER, NUMBER),
        ("change_number", GIVEN, None, None, "number.missing"),
        ("manage_member", GIVEN, None, None, "number.missing"),
        ("manager_act", GIVEN, None, None, "number.missing"),
        ("manager_act", a_number(), None, None, NUMBER),
        ("confirm_number", a_number(), a_number(number_id=OTHER, state="provided"), OTHER, OTHER),
        ("confirm_number", None, a_number(number_id=OTHER, state="provided"), OTHER, OTHER),
        ("confirm_number", None, a_number(number_id=OTHER, state="replaced"), OTHER, "number.unknown"),
        ("confirm_number", None, a_number(number_id=OTHER, state="reset"), OTHER, "number.unknown"),
        ("confirm_number", a_number(), a_number(number_id=OTHER, user_id=OTHER), OTHER, "number.unknown"),
        ("confirm_number", a_number(), None, None, "number.missing"),
    ],
)
def test_a_code_goes_to_the_number_in_force(
    action: str, in_force: Any, asked: Any, asked_id: Any, expected: Any
) -> None:
    """Only confirm_number names its own, and a number merely given approves logins and exports alone."""
    known = beliefs(protection=a_protection(number=in_force), asked_number=asked)
    one = taken(known, action=action, number_id=asked_id, outcome="challenge", reasons=["action.always"])
    found = one.ending.number.number_id if isinstance(one.ending, Open) else word(one)
    assert found == expected


@pytest.mark.parametrize(
    ("counter", "unlocked_at", "ending"),
    [
        (Counter(9, NOON), None, None),
        (Counter(10, NOON - 29 * SECOND), None, Deny("locked", NOON + SECOND)),
        (Counter(10, NOON - 30 * SECOND), None, None),
        (Counter(100, NOON - timedelta(days=30)), None, Deny("locked", None)),
        (Counter(100, NOON - MINUTE), NOON, None),
    ],
)
def test_no_challenge_opens_while_waiting_or_locked(counter: Counter, unlocked_at: Any, ending: Deny | None) -> None:
    """The denial says until when; locked for good it says nothing, as an account manager decides."""
    known = beliefs(counter=counter, protection=a_protection(unlocked_at=unlocked_at))
    one = taken(known, outcome="challenge", reasons=["ip.new"])
    assert isinstance(one.ending, Open) if ending is None else one.ending == ending


def test_a_lock_keeps_no_known_place_out() -> None:
    """An allow asks for no code: the thief of the password does not lock the owner out."""
    assert word(taken(beliefs(counter=Counter(100, NOON)))) == "allow"


@pytest.mark.parametrize(("open_before", "cancelled"), [(0, 0), (2, 0), (3, 1), (4, 2)])
def test_a_fourth_challenge_cancels_the_oldest(open_before: int, cancelled: int) -> None:
    """At most three a user and place, whatever was open."""
    before = tuple(uuid4() for _ in range(open_before))
    one = taken(beliefs(open_challenges=before), outcome="challenge", reasons=["ip.new"])
    assert isinstance(one.ending, Open)
    assert one.ending.cancels == before[:cancelled]
