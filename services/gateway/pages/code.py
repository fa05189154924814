"""The code box, the same for a log-in and for an export: what it shows, and what its three buttons do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from countersign.client import ChallengeState
    from services.gateway.gate import Gate
    from services.gateway.visitor import Visitor

CODE_CHARACTERS_MAX = 100  # chosen: eight digits with whatever a phone's clipboard puts around them
NOTHING = timedelta(0)
USUAL = timedelta(seconds=15)  # chosen: a text leaves within two; who waits longer is told so

# To whoever answers, the ways for a code to be over look alike (the verifier's `told`); to the page that holds the
# request its end is certain.
SAID: Mapping[str, str] = {
    "code.expired": "expired",
    "code.exhausted": "exhausted",
    "cancelled": "cancelled",
    "request.stale": "stale",
    "request.future": "clock",
    "member.unknown": "member",
    "number.missing": "number_missing",
    "number.unknown": "number_replaced",
    "number.replaced": "number_replaced",
    "number.recent": "number_recent",
    "sms.refused": "undeliverable",
    "sms.suppressed": "suppressed",
    "locked": "locked",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBox:
    """What the page with the code box shows. `resend_in` is None where no further text can be asked for.

    `text` is the latest text's state, or `slow` if it has been on its way for longer than usual; `newest_at` is when
    that text was sent, if it was not the first.
    """

    number_hint: str
    text: str
    tries_left: int
    ends_in: timedelta
    resend_in: timedelta | None
    newest_at: datetime | None = None

    @property
    def poll(self) -> int:
        """After how many seconds the page looks again: soon while the text is on its way."""
        return 1 if self.text == "sending" else 3


def box_of(challenge: ChallengeState, now: datetime) -> CodeBox:
    """Return what to show of an open challenge at `now`."""
    resend_after, sent_at = challenge.resend_after, challenge.sent_at or now
    slow = challenge.text == "sending" and now - sent_at > USUAL
    return CodeBox(
        number_hint=challenge.number_hint,
        text="slow" if slow else challenge.text,
        tries_left=challenge.tries_left,
        # `now` was read before the challenge: never more than it had when its text was issued.
        ends_in=max(min(challenge.expires_at - now, challenge.expires_at - sent_at), NOTHING),
        resend_in=None if resend_after is None else max(resend_after - now, NOTHING),
        newest_at=sent_at if challenge.send > 1 else None,
    )


def retry_in(retry_at: datetime | None, now: datetime) -> timedelta | None:
    """Return how long to wait, if there is a time to wait for."""
    return None if retry_at is None else max(retry_at - now, NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a button led to: the grant, or a problem to show in the box, or neither: look again."""

    grant: str | None = None
    problem: str | None = None


async def press(gate: Gate, visitor: Visitor, form: Mapping[str, str], challenge: ChallengeState) -> Step:
    """Do what the pressed button says: ask for another text, or give the code that was typed."""
    if form.get("do") == "resend":
        return await resend(gate, visitor, challenge)
    return await answer(gate, visitor, form, challenge)


async def answer(gate: Gate, visitor: Visitor, form: Mapping[str, str], challenge: ChallengeState) -> Step:
    """Give the code that was typed to the verifier."""
    code = form.get("code", "")[:CODE_CHARACTERS_MAX]
    # The same form with the same code is the same answer, however often a browser sends it; and what the verifier
    # keeps of it tells nobody the code.
    answer_id = visitor.id_of("answer", str(challenge.challenge_id), form.get("once", ""), code)
    verdict = await gate.challenges.answer(challenge.challenge_id, code, answer_id)
    t = visitor.words
    match verdict.verdict:
        case "accepted":
            return Step(grant=verdict.grant)
        case "wrong":
            left = verdict.tries_left or 0
            kind = "older" if verdict.older else "wrong"
            return Step(problem=t(f"code.error.{kind}", n=left)) if left > 0 else Step()
        case "off_form":
            return Step(problem=t("code.error.off_form"))
        case "wait":
            wait = t.duration(timedelta(seconds=verdict.retry_after or 1))
            return Step(problem=t("code.error.wait", wait=wait))
        case "over" | "unknown":
            return Step()
        case _:
            assert_never(verdict.verdict)


async def resend(gate: Gate, visitor: Visitor, challenge: ChallengeState) -> Step:
    """Ask for another text."""
    resent = await gate.challenges.resend(challenge.challenge_id)
    t = visitor.words
    match resent.outcome:
        case "sent" | "unknown":
            return Step()
        case "wait":
            wait = t.duration(timedelta(seconds=resent.retry_after or 1))
            return Step(problem=t("code.error.resend_wait", wait=wait))
        case "over":
            return Step(problem=t("code.error.resend_over"))
        case _:
            assert_never(resent.outcome)
