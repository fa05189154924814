"""Which events are told, for how long, how many of them, and in which words."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from countersign.policy import TextLimits
from services.notifier.compose import BRAND_CHARACTERS_MAX
from services.notifier.gsm7 import PART_SEPTETS_MAX, septets
from services.notifier.model import Answer, Pauses, Receipt, SealedNumber, State
from services.notifier.notices import words
from services.notifier.notices.decide import (
    KEY_PAUSE,
    LIFE,
    attempted,
    of_decision,
    of_setting,
    plan,
    rate_of,
    room_for,
)
from services.notifier.notices.model import Candidate, Delay, Kind, Pace, Reader, Send, Withhold
from tests.support import events
from tests.support.events import incoming

if TYPE_CHECKING:
    from countersign.runtime.messages.cloudevents import Event

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
ACCOUNT = uuid4()
LANGUAGES = words.load()
LIMITS = TextLimits(notices_daily_max=2, countries=("SE",))
KEYS = {"n1"}
LONGEST_ADDRESS = "2001:0db8:1111:2222:3333:4444:5555:6666"


def a_candidate(**over: Any) -> Candidate:
    user_id: UUID = over.pop("user_id", uuid4())
    key_id = over.pop("key_id", "n1")
    number = SealedNumber(user_id, b"sealed", key_id, over.pop("fingerprint", b"f"), over.pop("country", "SE"), 0)
    fields: dict[str, Any] = {
        "key": (uuid4(), uuid4()),
        "kind": Kind.LOGIN,
        "user_id": user_id,
        "void_at": NOON + LIFE,
        "claims": 0,
        "number": number,
        "reader": Reader("en", "owner"),
        "account_id": ACCOUNT,
    }
    return Candidate(**(fields | over))


def kind_of(event: Event, age: timedelta = timedelta(0)) -> Kind | None:
    """Return what is told of an event that is so old."""
    told: Any = incoming(event, at=NOON - age)
    found = of_setting(told, NOON) if event.topic == "account.settings.v1" else of_decision(told, NOON)
    return found.kind if found else None


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (events.a_two_factor_enabled(), Kind.TWO_FACTOR_ENABLED),
        (events.a_two_factor_disabled(), Kind.TWO_FACTOR_DISABLED),
        (events.a_number_replaced(), Kind.NUMBER_REPLACED),
        (events.a_number_reset(), Kind.NUMBER_RESET),
        (events.a_number_reset(old_number_id=None), None),
        (events.an_access_granted(reasons=["ip.new"]), Kind.LOGIN),
        (events.an_access_granted(reasons=["ip.absent", "action.always"]), Kind.LOGIN),
        (events.an_access_granted(reasons=["ip.known"]), None),
        (events.an_access_granted(reasons=["ip.new"], method="none"), None),
        (events.an_access_granted(reasons=["ip.new"], action="export"), None),
        (events.an_access_granted(reasons=["ip.new"], number_id=None), None),
        (events.an_access_denied(reason="code.exhausted"), Kind.WRONG_CODES),
        (events.an_access_denied(reason="code.exhausted", action="manage_member"), Kind.WRONG_CODES),
        (events.an_access_denied(reason="code.exhausted", challenge_id=None), None),
        (events.an_access_denied(reason="code.expired"), None),
    ],
)
def test_what_is_told(event: Event, kind: Kind | None) -> None:
    """A changed number, the setting, a log-in from a new computer, wrong codes to the last try."""
    assert kind_of(event) is kind
    assert kind_of(event, LIFE - SECOND) is kind
    assert kind_of(event, LIFE) is None


def test_the_setting_concerns_all_and_a_replaced_number_the_old_one() -> None:
    """Nobody is told at the new number what happened to the old one."""
    on, replaced = events.a_two_factor_enabled(user_id=uuid4()), events.a_number_replaced()
    told_all, told_old = of_setting(incoming(on, at=NOON), NOON), of_setting(incoming(replaced, at=NOON), NOON)
    assert told_all is not None
    assert told_old is not None
    assert (told_all.concerns_all, told_all.number_id) == (True, None)
    assert (told_old.concerns_all, told_old.number_id) == (False, replaced.old_number_id)


def test_a_number_has_a_limit_of_its_own_a_day() -> None:
    """From both sides; each number for itself, and one that may leave counts against those after it."""
    candidates = [a_candidate(), a_candidate(), a_candidate(fingerprint=b"g")]
    steps = plan(candidates, {b"f": 1}, LIMITS, keys=KEYS, room=9, now=NOON)
    assert [type(step) for step in steps] == [Send, Withhold, Send]
    assert isinstance(steps[1], Withhold)
    assert (steps[1].state, steps[1].reason) == (State.SUPPRESSED, "number.day")


@pytest.mark.parametrize(
    ("over", "state", "reason"),
    [
        ({"void_at": NOON}, State.SUPPRESSED, "late"),
        ({"void_at": NOON, "held_by": "provider.throttled"}, State.SUPPRESSED, "provider.throttled"),
        ({"number": None}, State.REFUSED, "number.unknown"),
        ({"country": "AQ"}, State.SUPPRESSED, "country"),
    ],
)
def test_what_does_not_leave_has_an_end_even_without_room(over: dict[str, Any], state: State, reason: str) -> None:
    """Void after an hour, a number that is gone, a country that nobody is in."""
    (step,) = plan([a_candidate(**over)], {}, LIMITS, keys=KEYS, room=0, now=NOON)
    assert isinstance(step, Withhold)
    assert (step.state, step.reason) == (state, reason)


def test_a_number_of_another_user_is_no_number() -> None:
    """What is sealed for one user opens for nobody else."""
    candidate = a_candidate()
    (step,) = plan([Candidate(candidate.key, Kind.LOGIN, uuid4(), candidate.void_at, 0, candidate.number,
                              candidate.reader, ACCOUNT)], {}, LIMITS, keys=KEYS, room=1, now=NOON)  # fmt: skip
    assert isinstance(step, Withhold)


@pytest.mark.parametrize(
    ("pauses", "paused"),
    [
        (Pauses(), False),
        (Pauses(everything=True), True),
        (Pauses(countries=frozenset({"SE"})), True),
        (Pauses(countries=frozenset({"AU"})), False),
        (Pauses(accounts=frozenset({ACCOUNT})), True),
        (Pauses(accounts=frozenset({uuid4()})), False),
    ],
)
def test_what_people_on_call_stopped_has_its_end(pauses: Pauses, paused: bool) -> None:
    """Even without room, so that nothing is told late."""
    steps = plan([a_candidate()], {}, LIMITS, keys=KEYS, room=0 if paused else 1, now=NOON, pauses=pauses)
    assert [type(step) for step in steps] == [Withhold if paused else Send]
    if isinstance(steps[0], Withhold):
        assert (steps[0].state, steps[0].reason) == (State.SUPPRESSED, "paused")


def test_what_finds_no_room_stays_due() -> None:
    """The first in line leave."""
    candidates = [a_candidate(fingerprint=bytes([n])) for n in range(5)]
    steps = plan(candidates, {}, LIMITS, keys=KEYS, room=2, now=NOON)
    assert [step.candidate for step in steps] == candidates[:2]


def test_a_number_that_no_key_opens_waits_and_takes_no_room() -> None:
    """Neither the room of others nor a part of its number's limit."""
    stuck, other = a_candidate(key_id="gone"), a_candidate()
    delay, send = plan([stuck, other], {b"f": 1}, LIMITS, keys=KEYS, room=1, now=NOON)
    assert delay == Delay(stuck, NOON + KEY_PAUSE, "key.unknown")
    assert isinstance(send, Send)


@pytest.mark.parametrize(("per_second", "rate"), [(20, 4), (5, 1), (1, 1), (24, 4), (300, 60)])
def test_a_fifth_of_the_rate(per_second: int, rate: int) -> None:
    """Rounded down, but one at least."""
    assert rate_of(per_second) == rate


@pytest.mark.parametrize(
    ("claimed", "codes_wait", "provider", "room"),
    [(0, False, 64, 4), (3, False, 64, 1), (4, False, 64, 0), (9, False, 64, 0), (0, True, 64, 0), (0, False, 1, 1)],
)
def test_codes_go_first(claimed: int, codes_wait: bool, provider: int, room: int) -> None:
    """No notice while a code waits; never more than the rate or what the provider takes."""
    assert room_for(Pace(NOON, claimed, codes_wait), 4, provider) == room


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Answer.ACCEPTED, State.ACCEPTED),
        (Answer.REFUSED, State.REFUSED),
        (Answer.NOT_SENT, State.DUE),
        (Answer.STOPPED, State.DUE),
        (Answer.IN_DOUBT, State.UNKNOWN),
    ],
)
def test_only_what_certainly_did_not_leave_is_due_again(answer: Answer, state: State) -> None:
    """With a pause that grows to a minute."""
    settlement = attempted(a_candidate(claims=2), Receipt(answer, "word"), 1)
    assert (settlement.state, settlement.claims) == (state, 3)
    assert settlement.pause_seconds == (4.0 if state is State.DUE else 0.0)
    assert attempted(a_candidate(claims=4000), Receipt(Answer.NOT_SENT), 1).pause_seconds == 60.0


@pytest.mark.parametrize("language", sorted(LANGUAGES))
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("role", ["owner", "account_manager"])
@pytest.mark.parametrize("ip", [None, "203.0.113.7", LONGEST_ADDRESS])
def test_a_notice_is_one_part_with_no_code_and_no_link(language: str, kind: Kind, role: str, ip: str | None) -> None:
    """With the longest brand and address; the address stands wherever it belongs, so that it can be recognised."""
    text = words.notice(
        LANGUAGES, "en", kind, brand="B" * BRAND_CHARACTERS_MAX, reader=Reader(f"{language}-XX", role), ip=ip
    ).body
    assert septets(text) <= PART_SEPTETS_MAX
    assert not re.search(r"https?:|www\.|[@#]|\d{6}", text)
    assert "\n" not in text
    assert "{" not in text
    assert (ip is not None and kind is Kind.LOGIN) == (f"({ip})" in text)


def test_the_words_are_in_the_readers_language_or_the_default_one() -> None:
    """An account manager has no account manager to ask."""

    def told(locale: str | None, role: str | None = "managed", default: str = "en") -> str:
        reader = Reader(locale, role)
        return words.notice(LANGUAGES, default, Kind.LOGIN, brand="Example", reader=reader, ip="203.0.113.7").body

    assert told("en-GB") == (
        "Example: a new computer (203.0.113.7) logged in to your account. Not you? Contact your account manager."
    )
    assert told("de") == (
        "Example: Ein neuer Computer (203.0.113.7) ist in Ihrem Konto angemeldet. "
        "Nicht Sie? Fragen Sie Ihren Kundenbetreuer."
    )
    assert told("fr") == told(None) == told("en")
    assert told(None, default="de") == told("de")
    assert told("en", role="account_manager").endswith("Tell your security team.")
