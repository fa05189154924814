"""The code box, the same for a log-in and for an export: what it shows, and what its three buttons do."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

# The three ways for a code to be over look alike on purpose, and so does giving it up.
SAID: Mapping[str, str] = {
    "code.expired": "over",
    "code.exhausted": "over",
    "cancelled": "over",
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
    """What the page with the code box shows. `resend_in` is None where no further text can be asked for."""

    number_hint: str
    text: str
    tries_left: int
    ends_in: timedelta
    resend_in: timedelta | None


def box_of(challenge: ChallengeState, now: datetime) -> CodeBox:
    """Return what to show of an open challenge at `now`."""
    resend_after = challenge.resend_after
    return CodeBox(
        number_hint=challenge.number_hint,
        text=challenge.text,
        tries_left=challenge.tries_left,
        ends_in=max(challenge.expires_at - now, NOTHING),
        resend_in=None if resend_after is None else max(resend_after - now, NOTHING),
    )


def retry_in(retry_at: datetime | None, now: datetime) -> timedelta | None:
    """Return how long to wait, if there is a time to wait for."""
    return None if retry_at is None else max(retry_at - now, NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a button led to: the grant, or a problem to show in the box with a status, or neither: look again."""

    grant: str | None = None
    box: CodeBox | None = None
    problem: str | None = None
    status: int = 200


async def answer(
    gate: Gate, visitor: Visitor, form: Mapping[str, str], challenge: ChallengeState, box: CodeBox
) -> Step:
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
            if left == 0:
                return Step()
            return Step(box=replace(box, tries_left=left), problem=t("code.error.wrong", n=left), status=422)
        case "off_form":
            return Step(box=box, problem=t("code.error.off_form"), status=422)
        case "wait":
            wait = t.duration(timedelta(seconds=verdict.retry_after or 1))
            return Step(box=box, problem=t("code.error.wait", wait=wait), status=429)
        case "over" | "unknown":
            return Step()
        case _:
            assert_never(verdict.verdict)


async def resend(gate: Gate, visitor: Visitor, challenge: ChallengeState, box: CodeBox) -> Step:
    """Ask for another text."""
    resent = await gate.challenges.resend(challenge.challenge_id)
    t = visitor.words
    match resent.outcome:
        case "sent" | "unknown":
            return Step()
        case "wait":
            wait = timedelta(seconds=resent.retry_after or 1)
            problem = t("code.error.resend_wait", wait=t.duration(wait))
            return Step(box=replace(box, resend_in=wait), problem=problem, status=429)
        case "over":
            return Step(box=replace(box, resend_in=None), problem=t("code.error.resend_over"), status=409)
        case _:
            assert_never(resent.outcome)
