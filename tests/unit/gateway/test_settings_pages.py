"""The settings pages' rules, and each of their templates in each state and language, rendered without a server."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import uuid4

import pytest
from cryptography.exceptions import InvalidTag

from countersign.client import ChallengeState, RequestState
from countersign.contract import Action
from countersign.contract.number import Refusal as NumberRefusal
from services.gateway import words
from services.gateway.decide import DECIDED_WITHIN, progress_of
from services.gateway.enrolment import Refusal
from services.gateway.pages.code import SAID
from services.gateway.settings_pages import decide
from services.gateway.settings_pages.arrival import said_of, said_of_blocks
from services.gateway.settings_pages.model import Account, Block, Said
from services.gateway.visitor import Visitor, new_secret
from tests.support.settings_pages import ME, NOON, OTHER, a_draft, a_member, a_number, a_place, a_session


@pytest.mark.parametrize(
    ("given", "fresh"),
    [
        (None, False),
        (NOON, True),
        (NOON - timedelta(minutes=5) + timedelta(seconds=1), True),
        (NOON - timedelta(minutes=5), False),
    ],
)
def test_the_password_is_asked_again_after_five_minutes(given: datetime | None, *, fresh: bool) -> None:
    """From both sides; a session from before that knows of no password asks."""
    assert decide.password_is_fresh(a_session(password_at=given)) is fresh


MEMBER = "019ca8e4-1c00-7a02-8000-00000000000b"  # the names of tests are the same in every worker


@pytest.mark.parametrize(
    ("asked", "leads"),
    [
        ("/account/number", "/account/number"),
        (f"/account/users/{MEMBER}/number", f"/account/users/{MEMBER}/number"),
        ("/account", "/account"),
        *(
            (bad, "/account")
            for bad in (
                "",
                "//evil.example",
                "https://evil.example/account",
                "/account/number\n",
                "/account/number/..",
                "/logout",
                "/account/users/x/number",
                "/account?x",
                "javascript:alert(1)",
                f"/account/users/{MEMBER.upper()}/number",
            )
        ),
    ],
)
def test_the_password_page_leads_to_our_own_pages_only(asked: str, leads: str) -> None:
    """Whatever an address asks for."""
    assert decide.back_to(asked) == leads


def test_a_draft_that_was_left_is_no_longer_shown() -> None:
    """From both sides of its life."""
    assert decide.is_current(a_draft(now=NOON + decide.DRAFT_LIFE - timedelta(seconds=1)))
    assert not decide.is_current(a_draft(now=NOON + decide.DRAFT_LIFE))
    assert not decide.is_current(None)


def test_what_a_page_shows_of_a_change() -> None:
    """By what the verifier says of its request."""
    challenge = ChallengeState(
        challenge_id=uuid4(), number_hint="+61 ••06", expires_at=NOON, tries_left=5, text="sending"
    )

    def shown(state: str, now: datetime = NOON, **rest: Any) -> str:
        return progress_of(RequestState.model_validate({"request_id": ME, "state": state, **rest}), now - NOON)

    assert shown("undecided") == "moment"
    assert shown("undecided", NOON + DECIDED_WITHIN) == "given_up"
    assert shown("challenged", challenge=challenge) == "code"
    assert shown("granted", grant="x") == "right"
    assert shown("denied", reason="locked") == "denied"


def test_the_steps_of_a_change() -> None:
    """Two codes: the phone of before first."""
    assert decide.step_of(a_draft(needs="change_number", steps=2)) == 1
    assert decide.step_of(a_draft(needs="confirm_number", steps=2)) == 2
    assert decide.step_of(a_draft(needs="confirm_number", steps=1)) == 1
    assert decide.step_of(a_draft(needs="manage_member", steps=1)) == 1


def test_what_the_security_section_is_about() -> None:
    """Once it is on there is no form for anybody; before, only an owner has one."""
    owner, managed = a_member(), a_member(role="managed")
    off, on = Account(two_factor=False, members=[]), Account(two_factor=True, members=[])
    assert [decide.security_of(off, owner), decide.security_of(off, managed)] == ["form", "not_owner"]
    assert [decide.security_of(on, owner), decide.security_of(on, managed)] == ["on", "on"]


def test_until_when_exports_are_held() -> None:
    """The later of the two, and nothing that is over."""
    later, over = NOON + timedelta(hours=2), NOON
    me = a_member(exports_held_until=later)
    assert decide.held_until(Account(two_factor=True, members=[], exports_held_until=over), me, NOON) == later
    account = Account(two_factor=True, members=[], exports_held_until=later + timedelta(hours=1))
    assert decide.held_until(account, me, NOON) == later + timedelta(hours=1)
    assert decide.held_until(Account(two_factor=True, members=[]), a_member(exports_held_until=over), NOON) is None


def test_the_own_number_does_not_stand_in_the_way() -> None:
    """The same form takes it; everybody else's does."""
    mine, theirs = Block(user_id=ME, reason="number.missing"), Block(user_id=OTHER, reason="number.missing")
    assert decide.others_blocking([mine, theirs], ME) == [theirs]


def test_who_is_only_warned_of() -> None:
    """A number that is given and blocks nothing; not one that blocks, nor the own one."""
    given = a_number("provided")
    members = [a_member(given_number=given), a_member(OTHER, "managed", given_number=given)]
    warned = decide.warned_of(Account(two_factor=False, members=members), ME)
    assert [member.user_id for member in warned] == [OTHER]
    blocked = [Block(user_id=OTHER, reason="number.unconfirmed")]
    assert decide.warned_of(Account(two_factor=False, members=members, blocked_by=blocked), ME) == []


def test_a_thousand_people_are_pages() -> None:
    """The one who looks first, then those without a number; what is no page is the nearest one."""
    everybody = [a_member(uuid4(), "managed", number=a_number()) for _ in range(1_000)]
    late = a_member(OTHER, "managed")
    first = decide.people_page([*everybody, late, a_member(number=a_number())], ME, "")
    assert [member.user_id for member in first.people[:2]] == [ME, OTHER]
    assert (len(first.people), first.number, first.last) == (decide.PEOPLE_A_PAGE, 1, 21)
    for asked, number in {"21": 21, "22": 21, "0": 1, "-1": 1, "٣": 1, "9" * 5_000: 1}.items():
        assert decide.people_page([*everybody, late], ME, asked).number == number


def test_only_what_was_shown_and_not_ticked_is_forgotten() -> None:
    """A place that the form did not show stays; None says that all stay."""
    form = {"seen 10.0.0.1/32": "1", "keep 10.0.0.1/32": "1", "seen 10.0.0.2/32": "1", "two_factor": "on"}
    assert decide.ticked_off(form) == ("10.0.0.2/32",)
    known = [a_place("10.0.0.1/32"), a_place("10.0.0.2/32"), a_place("10.0.0.3/32")]
    assert decide.places_kept(known, ("10.0.0.2/32",)) == ["10.0.0.1/32", "10.0.0.3/32"]
    assert decide.places_kept(known, ()) is None
    assert decide.places_kept(known, ("203.0.113.7/32",)) is None
    assert decide.places_kept(known[:1], ("10.0.0.1/32",)) == []


def test_what_was_typed_is_sealed_for_one_browser() -> None:
    """Another browser's secret does not open it, and it does not show."""
    mine, other = (Visitor(new_secret(), None, None, words.load()["en"]) for _ in range(2))
    sealed = mine.seal("+61491570006")
    assert mine.unseal(sealed) == "+61491570006"
    assert b"491570006" not in sealed
    assert mine.seal("+61491570006") != sealed
    with pytest.raises(InvalidTag):
        other.unseal(sealed)


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_refusal_has_words(language: str) -> None:
    """Each reason for which a number is refused, and each action and outcome that the activity shows."""
    t = words.load()[language]
    for reason in get_args(NumberRefusal):
        assert t(f"settings.refused.{reason}")
        said = said_of(t, Refusal(kind="number_refused", reason=reason))
        assert said == Said(t(f"settings.refused.{reason}"), "#number")
    assert said_of(t, Refusal(kind="number_refused", reason="of tomorrow")).text == t("settings.refused.unreadable")
    assert said_of(t, Refusal(kind="of tomorrow")).text == t("settings.refusal.other")
    for action in get_args(Action):
        assert t(f"settings.action.{action}")
    for kind in {"granted", "challenged", "expired", "exhausted", "cancelled", *SAID.values()}:
        assert t(f"settings.outcome.{kind}")
    blocks = [Block(user_id=OTHER, name="Max", reason="number.missing"), Block(reason="owner.missing")]
    assert [said.href for said in said_of_blocks(t, blocks)] == [f"/account/users/{OTHER}/number", None]
