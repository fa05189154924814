"""The judgement of answers and further texts: each limit from both sides, and without a single fake."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from services.verifier.codes import digest_code
from services.verifier.judge import give_up, judge, plan_resend, resend_after, told, weigh
from services.verifier.model import (
    Challenge,
    Circumstances,
    Counter,
    Denied,
    Granted,
    Resend,
    SendAgain,
    SendLater,
    SendNever,
    Verdict,
    Wait,
)
from tests.support.challenges import (
    CHALLENGE,
    CODE,
    MINUTE,
    NOON,
    OTHER,
    PEPPER,
    SECOND,
    a_challenge,
    a_number,
    a_protection,
    circumstances,
)

TICK = timedelta(microseconds=1)
TENTH = Counter(10, NOON - 10 * SECOND)


@pytest.mark.parametrize(
    ("challenge", "seen", "verdict"),
    [
        (a_challenge(), circumstances(), Verdict.ACCEPTED),
        (a_challenge(attempts=4), circumstances(), Verdict.ACCEPTED),
        (a_challenge(attempts=5), circumstances(), Verdict.EXHAUSTED),
        (a_challenge(expires_at=NOON + TICK), circumstances(), Verdict.ACCEPTED),
        (a_challenge(expires_at=NOON), circumstances(), Verdict.EXPIRED),
        (a_challenge(closed_at=NOON), circumstances(), Verdict.CLOSED),
        (a_challenge(), circumstances(protection=None), Verdict.REPLACED),
        (a_challenge(), circumstances(number=None), Verdict.REPLACED),
        (a_challenge(), circumstances(number=a_number(state="replaced")), Verdict.REPLACED),
        (a_challenge(), circumstances(number=a_number(state="reset")), Verdict.REPLACED),
        (a_challenge(), circumstances(number=a_number(user_id=OTHER)), Verdict.REPLACED),
        (a_challenge(), circumstances(protection=a_protection(number=None)), Verdict.REPLACED),
        (
            a_challenge(),
            circumstances(protection=a_protection(number=a_number(number_id=OTHER))),
            Verdict.REPLACED,
        ),
        (a_challenge(), circumstances(counter=Counter(9, NOON)), Verdict.ACCEPTED),
        (a_challenge(), circumstances(counter=TENTH), Verdict.WAITING),
        (a_challenge(), circumstances(counter=Counter(10, NOON - 30 * SECOND)), Verdict.ACCEPTED),
        (a_challenge(), circumstances(counter=Counter(100, NOON - timedelta(days=9))), Verdict.WAITING),
        (
            a_challenge(),
            circumstances(counter=Counter(100, NOON - MINUTE), protection=a_protection(unlocked_at=NOON)),
            Verdict.ACCEPTED,
        ),
    ],
)
def test_the_right_code_is_judged_by_the_limits(challenge: Challenge, seen: Circumstances, verdict: Verdict) -> None:
    """Each limit, from both sides."""
    assert judge(challenge, CODE, seen, PEPPER) is verdict


@pytest.mark.parametrize(
    ("action", "given", "verdict"),
    [
        ("login", "provided", Verdict.ACCEPTED),
        ("export", "provided", Verdict.ACCEPTED),
        ("change_number", "provided", Verdict.REPLACED),
        ("manage_member", "provided", Verdict.REPLACED),
        ("manager_act", "provided", Verdict.REPLACED),
        ("change_number", "confirmed", Verdict.ACCEPTED),
        ("manage_member", "confirmed", Verdict.ACCEPTED),
        ("manager_act", "confirmed", Verdict.ACCEPTED),
    ],
)
def test_what_needs_a_confirmed_number_needs_it_to_the_end(action: str, given: Any, verdict: Verdict) -> None:
    """A number merely given approves logins and exports only."""
    number = a_number(state=given)
    seen = circumstances(number=number, protection=a_protection(number=number))
    assert judge(a_challenge(action=action), CODE, seen, PEPPER) is verdict


def test_a_number_being_confirmed_is_not_yet_in_force() -> None:
    """confirm_number goes by the number it names, whatever is in force."""
    seen = circumstances(number=a_number(state="provided"), protection=a_protection(number=a_number(number_id=OTHER)))
    assert judge(a_challenge(action="confirm_number"), CODE, seen, PEPPER) is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ("digests", "verdict"),
    [
        (((1, digest_code(PEPPER, CHALLENGE, 1, CODE)),), Verdict.ACCEPTED),
        (((2, digest_code(PEPPER, CHALLENGE, 2, CODE)), (1, b"x" * 32)), Verdict.ACCEPTED),
        (((2, b"x" * 32), (1, digest_code(PEPPER, CHALLENGE, 1, CODE))), Verdict.ACCEPTED),
        (((3, b"x" * 32), (2, b"y" * 32)), Verdict.MISMATCHED),
        (((2, digest_code(PEPPER, CHALLENGE, 1, CODE)),), Verdict.MISMATCHED),
        (((1, digest_code(PEPPER, OTHER, 1, CODE)),), Verdict.MISMATCHED),
        (((1, digest_code(b"q" * 32, CHALLENGE, 1, CODE)),), Verdict.MISMATCHED),
        (((1, digest_code(PEPPER, CHALLENGE, 1, "123457")),), Verdict.MISMATCHED),
    ],
)
def test_a_code_fits_its_challenge_and_send_alone(digests: Any, verdict: Verdict) -> None:
    """Of another send, another challenge or another pepper it is just wrong."""
    assert judge(a_challenge(), CODE, circumstances(digests=digests), PEPPER) is verdict


def test_past_a_limit_nothing_tells_whether_the_code_was_right() -> None:
    """The wrong code gets the very same verdicts."""
    for over in ({"attempts": 5}, {"expires_at": NOON}, {"closed_at": NOON}):
        challenge = a_challenge(**over)
        right, wrong = (judge(challenge, code, circumstances(), PEPPER) for code in (CODE, "000000"))
        assert right is wrong


@pytest.mark.parametrize(
    ("verdict", "attempts", "failures", "ending"),
    [
        (Verdict.ACCEPTED, 4, 0, "granted"),
        (Verdict.MISMATCHED, 4, 8, None),
        (Verdict.EXPIRED, 3, 7, "code.expired"),
        (Verdict.EXHAUSTED, 3, 7, "code.exhausted"),
        (Verdict.REPLACED, 3, 7, "number.replaced"),
        (Verdict.CLOSED, 3, 7, None),
    ],
)
def test_only_what_was_compared_counts(verdict: Verdict, attempts: int, failures: int, ending: str | None) -> None:
    """A success clears the counter, a mismatch adds to it, the rest leaves it alone."""
    judged = weigh(a_challenge(attempts=3), verdict, circumstances(counter=Counter(7, NOON - MINUTE)))
    assert (judged.attempts, judged.counter.failures, judged.tries_left) == (attempts, failures, 5 - attempts)
    assert _reason(judged.ending) == ending


def test_the_fifth_wrong_answer_ends_the_challenge() -> None:
    """It is told as wrong with no tries left, and denied as exhausted."""
    fourth = weigh(a_challenge(attempts=3), Verdict.MISMATCHED, circumstances())
    fifth = weigh(a_challenge(attempts=4), Verdict.MISMATCHED, circumstances())
    assert (fourth.tries_left, fourth.ending) == (1, None)
    assert (fifth.tries_left, _reason(fifth.ending)) == (0, "code.exhausted")


def test_waiting_uses_no_try_and_says_how_long() -> None:
    """Neither challenge nor counter moves."""
    judged = weigh(a_challenge(attempts=2), Verdict.WAITING, circumstances(counter=TENTH))
    assert (judged.attempts, judged.counter, judged.ending) == (2, TENTH, None)
    assert judged.wait == Wait(NOON + 20 * SECOND)


def test_the_ways_to_be_over_look_alike() -> None:
    """Five failures then over, and it is not said which element was wrong (PSD2 RTS, Article 4)."""
    over = {Verdict.EXPIRED, Verdict.EXHAUSTED, Verdict.CLOSED, Verdict.REPLACED}
    assert {told(verdict) for verdict in over} == {"over"}
    assert {told(verdict) for verdict in set(Verdict) - over} == {"accepted", "wrong", "wait"}


@pytest.mark.parametrize(
    ("sends", "waited", "left", "plan"),
    [
        (1, 30 * SECOND, 4 * MINUTE, SendAgain(2)),
        (1, 30 * SECOND - TICK, 4 * MINUTE, SendLater(NOON + TICK)),
        (2, 60 * SECOND, 3 * MINUTE, SendAgain(3)),
        (2, 60 * SECOND - TICK, 3 * MINUTE, SendLater(NOON + TICK)),
        (3, 120 * SECOND, 2 * MINUTE, SendAgain(4)),
        (3, 120 * SECOND - TICK, 2 * MINUTE, SendLater(NOON + TICK)),
        (4, 4 * MINUTE, 5 * MINUTE, SendNever("No further text is sent for this challenge.")),
        (1, 4 * MINUTE, 60 * SECOND, SendAgain(2)),
        (1, 4 * MINUTE, 60 * SECOND - TICK, SendNever("No further text is sent for this challenge.")),
        (3, 60 * SECOND, 119 * SECOND, SendNever("No further text is sent for this challenge.")),
    ],
)
def test_a_further_text_waits_its_turn(sends: int, waited: timedelta, left: timedelta, plan: Resend) -> None:
    """At most four, 30, 60 and 120 s apart, none with less than 60 s to type it in."""
    challenge = a_challenge(expires_at=NOON + left)
    assert plan_resend(challenge, sends, NOON - waited, circumstances()) == plan


@pytest.mark.parametrize(
    ("challenge", "seen", "ending"),
    [
        (a_challenge(closed_at=NOON), circumstances(), None),
        (a_challenge(expires_at=NOON), circumstances(), "code.expired"),
        (a_challenge(attempts=5), circumstances(), "code.exhausted"),
        (a_challenge(), circumstances(number=a_number(state="replaced")), "number.replaced"),
    ],
)
def test_what_is_over_gets_no_text(challenge: Challenge, seen: Circumstances, ending: str | None) -> None:
    """And what is found to be over is ended."""
    plan = plan_resend(challenge, 1, NOON - MINUTE, seen)
    assert isinstance(plan, SendNever)
    assert _reason(plan.ending) == ending


def test_no_text_leaves_while_no_answer_would_be_judged() -> None:
    """A text whose code cannot be used costs and annoys."""
    challenge = a_challenge()
    assert plan_resend(challenge, 1, NOON - MINUTE, circumstances(counter=TENTH)) == SendLater(NOON + 20 * SECOND)
    locked = circumstances(counter=Counter(100, NOON - MINUTE))
    assert plan_resend(challenge, 1, NOON - MINUTE, locked) == SendLater(None)


@pytest.mark.parametrize(
    ("sends", "expires_at", "at"),
    [
        (1, NOON + 90 * SECOND, NOON + 30 * SECOND),
        (1, NOON + 90 * SECOND - TICK, None),
        (3, NOON + 5 * MINUTE, NOON + 120 * SECOND),
        (4, NOON + 9 * MINUTE, None),
    ],
)
def test_the_claimant_is_told_when_to_ask_again(sends: int, expires_at: datetime, at: datetime | None) -> None:
    """Never for a time at which it would be refused."""
    assert resend_after(sends, NOON, expires_at) == at


def test_giving_up_what_has_expired_is_no_cancelling() -> None:
    """By the database's clock the end came before."""
    assert give_up(a_challenge(expires_at=NOON + TICK), NOON).reason == "cancelled"
    assert give_up(a_challenge(expires_at=NOON), NOON).reason == "code.expired"


def _reason(ending: Granted | Denied | None) -> str | None:
    match ending:
        case None:
            return None
        case Granted():
            return "granted"
        case Denied():
            return ending.reason
