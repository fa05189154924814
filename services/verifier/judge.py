"""The judgement of an answer and the plan of a further text, pure; the caller stores what follows before it replies."""

from __future__ import annotations

from datetime import timedelta
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal, assert_never

from services.verifier.codes import digest_code
from services.verifier.counters import failed, wait_of
from services.verifier.decide_assessment import NEEDS_CONFIRMED, in_use
from services.verifier.model import (
    Counter,
    Denied,
    Granted,
    Judged,
    SendAgain,
    SendLater,
    SendNever,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.verifier.model import Challenge, Circumstances, Decision, Resend

SENDS_MAX = 4  # chosen: a text is money and a nuisance
SEND_WAITS = (timedelta(seconds=30), timedelta(seconds=60), timedelta(seconds=120))  # after text 1, 2, 3
LIFE_LEFT_MIN = timedelta(seconds=60)  # a text that may come too late to be typed is not sent
GOOD_SENDS = 2  # texts overtake each other: 2 codes x 5 tries is 1 in 100,000


def judge(challenge: Challenge, answer: str, seen: Circumstances, pepper: bytes) -> Verdict:
    """Judge an answer to a challenge. Past a limit, do not say whether it would have matched."""
    if challenge.closed_at is not None:
        return Verdict.CLOSED
    if seen.now >= challenge.expires_at:
        return Verdict.EXPIRED
    if challenge.attempts >= challenge.attempts_max:
        return Verdict.EXHAUSTED
    if not still_theirs(challenge, seen):
        return Verdict.REPLACED
    if wait_of(seen.counter, _unlocked_at(seen), seen.now) is not None:
        return Verdict.WAITING
    return Verdict.ACCEPTED if _is_one_of(seen.digests, challenge, answer, pepper) else Verdict.MISMATCHED


def is_older(challenge: Challenge, answer: str, seen: Circumstances, pepper: bytes) -> bool:
    """Tell whether a wrong answer is the code of an earlier text, which opens nothing any more, so it may be said."""
    return _is_one_of(seen.older, challenge, answer, pepper)


def _is_one_of(digests: Sequence[tuple[int, bytes]], challenge: Challenge, answer: str, pepper: bytes) -> bool:
    matched = [
        compare_digest(kept, digest_code(pepper, challenge.challenge_id, send, answer)) for send, kept in digests
    ]
    return any(matched)


def still_theirs(challenge: Challenge, seen: Circumstances) -> bool:
    """Tell whether the user is still a member and the number the code went to still theirs, and in force if need be."""
    asked = challenge.asked
    if seen.protection is None or seen.number is None or not in_use(seen.number, asked.user_id):
        return False
    if asked.action == "confirm_number":
        return True
    number = seen.protection.number
    if number is None or number.number_id != asked.number_id:
        return False
    return number.state == "confirmed" or asked.action not in NEEDS_CONFIRMED


def weigh(challenge: Challenge, verdict: Verdict, seen: Circumstances) -> Judged:
    """Return what follows from a verdict: the counts, and the end if it is one."""
    counter, attempts = seen.counter, challenge.attempts
    ending: Decision | None = None
    match verdict:
        case Verdict.ACCEPTED:
            attempts, counter, ending = attempts + 1, Counter(), Granted(challenge.asked)
        case Verdict.MISMATCHED:
            attempts, counter = attempts + 1, failed(counter, _unlocked_at(seen), seen.now)
            if attempts >= challenge.attempts_max:
                ending = Denied(challenge.asked, "code.exhausted")
        case Verdict.EXPIRED | Verdict.EXHAUSTED | Verdict.REPLACED:
            ending = _over(challenge, verdict)
        case Verdict.CLOSED | Verdict.WAITING:
            pass
        case _:
            assert_never(verdict)
    wait = wait_of(seen.counter, _unlocked_at(seen), seen.now) if verdict is Verdict.WAITING else None
    return Judged(verdict, attempts, counter, max(0, challenge.attempts_max - attempts), ending, wait)


def told(verdict: Verdict) -> Literal["accepted", "wrong", "over", "wait"]:
    """Return what the claimant may learn. The ways to be over look alike on purpose (OWASP ASVS 5.0, 6.3.8)."""
    match verdict:
        case Verdict.ACCEPTED:
            return "accepted"
        case Verdict.MISMATCHED:
            return "wrong"
        case Verdict.WAITING:
            return "wait"
        case Verdict.EXPIRED | Verdict.EXHAUSTED | Verdict.CLOSED | Verdict.REPLACED:
            return "over"
        case _:
            assert_never(verdict)


def plan_resend(challenge: Challenge, sends: int, last_at: datetime, seen: Circumstances) -> Resend:
    """Return whether a further text may leave; `last_at` is when the latest of the `sends` texts was issued."""
    if challenge.closed_at is not None:
        return SendNever("The challenge is over.")
    over: Verdict | None = None
    if seen.now >= challenge.expires_at:
        over = Verdict.EXPIRED
    elif challenge.attempts >= challenge.attempts_max:
        over = Verdict.EXHAUSTED
    elif not still_theirs(challenge, seen):
        over = Verdict.REPLACED
    if over is not None:
        return SendNever("The challenge is over.", _over(challenge, over))
    wait = wait_of(seen.counter, _unlocked_at(seen), seen.now)
    if wait is not None:
        return SendLater(wait.until)
    at = resend_after(sends, last_at, challenge.expires_at)
    if at is None or seen.now > challenge.expires_at - LIFE_LEFT_MIN:
        return SendNever("No further text is sent for this challenge.")
    return SendLater(at) if seen.now < at else SendAgain(sends + 1)


def give_up(challenge: Challenge, now: datetime) -> Denied:
    """Return the end of an open challenge that its claimant gives up: one whose time is over had its end before."""
    return Denied(challenge.asked, "code.expired" if now >= challenge.expires_at else "cancelled")


def resend_after(sends: int, last_at: datetime, expires_at: datetime) -> datetime | None:
    """Return when the next text may be asked for; None: this challenge gets no more."""
    if sends >= SENDS_MAX:
        return None
    at = last_at + SEND_WAITS[sends - 1]
    return at if at <= expires_at - LIFE_LEFT_MIN else None


def _over(challenge: Challenge, verdict: Verdict) -> Decision:
    match verdict:
        case Verdict.EXPIRED:
            return Denied(challenge.asked, "code.expired")
        case Verdict.EXHAUSTED:
            return Denied(challenge.asked, "code.exhausted")
        case _:
            return Denied(challenge.asked, "number.replaced")


def _unlocked_at(seen: Circumstances) -> datetime | None:
    return seen.protection.unlocked_at if seen.protection else None
