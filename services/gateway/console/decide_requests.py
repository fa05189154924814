"""How the console tells what became of a customer's request, pure: keys of words, and what fills their blanks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, get_args

from countersign.contract import DenialReason, Reason
from countersign.timeline.story import WITHOUT_CODE
from services.gateway.decide import DECIDED_WITHIN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from countersign.timeline.story import Ending
    from services.gateway.console.model import RequestSeen, StepSeen

RECENT_ON_ACCOUNT_MAX = 5  # chosen: the page of an account stays short; the list is one link away

TEXT_STATES = frozenset({"sending", "accepted", "unknown", "refused", "suppressed"})
# Words for why a text was not sent; for another reason nothing is added to "it was not sent".
TEXT_REASONS = frozenset({
    "number.gap", "number.hour", "number.day", "account.hour", "country", "paused", "late", "number.unknown",
    "number.unreadable", "provider.opted_out",
})  # fmt: skip
# Steps whose words need nothing but what the step itself says; and those of them that may say why.
OWN_WORDS = frozenset({
    "requested", "taken", "granted", "export.asked", "export.granted", "text.issued", "text.due", "text.claimed",
    "text.accepted", "text.refused", "text.suppressed", "text.unknown", "setting.asked", "setting.granted",
    "setting.denied", "manager.done", "manager.recorded", "manager.carried_out",
})  # fmt: skip
_NOT_SENT = frozenset({"text.refused", "text.suppressed"})
_SERVICES = frozenset({"risk_evaluator", "verifier", "notifier", "exports", "enrolment"})
_REASONS, _DENIALS = frozenset(get_args(Reason)), frozenset(get_args(DenialReason))
_WITHOUT_CODE = frozenset(WITHOUT_CODE)


@dataclass(frozen=True, slots=True)
class Saying:
    """Words by their key, with what fills their blanks; `why` are the keys of what is added as the reasons."""

    key: str
    fill: Mapping[str, object] = field(default_factory=dict)
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A request in a list. `name` None: somebody who is no member any more."""

    request: RequestSeen
    name: str | None
    said: Saying


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A step of a time line: its words, where the request came from and by which policy it was judged."""

    at: datetime
    after_ms: str | None
    service: str
    said: Saying
    until: datetime | None = None
    address: str | None = None
    policy: str | None = None


def row_of(request: RequestSeen, names: Mapping[UUID, str]) -> Row:
    """Return a request as lists show it."""
    name = None if request.user_id is None else names.get(request.user_id)
    return Row(request=request, name=name, said=sentence_of(request.outcome))


def sentence_of(outcome: Ending) -> Saying:
    """Return in a sentence what became of a request."""
    match outcome.kind:
        case "granted" if outcome.with_code:
            return Saying("console.outcome.granted_code", {"n": outcome.attempt or 1})
        case "granted":
            return Saying(f"console.outcome.granted_{_named(outcome.reason, _WITHOUT_CODE)}")
        case "denied":
            return Saying(f"console.outcome.{_named(outcome.reason, _DENIALS)}")
        case "waiting":
            return Saying("console.outcome.waiting", {"n": outcome.tries_left or 0})
        case _:
            return Saying(f"console.outcome.{'under_way' if is_open(outcome) else 'not_decided'}")


def text_of(outcome: Ending) -> Saying | None:
    """Return what became of the newest text; None where that does not matter or no text was asked for.

    Where the text is why the request was denied, the sentence about the request says so, and this adds the reason.
    """
    if outcome.reason in {"sms.refused", "sms.suppressed"}:
        return next((Saying(key) for key in _text_reason(outcome.text_reason)), None)
    if outcome.kind not in {"waiting", "denied"} or outcome.text_state not in TEXT_STATES:
        return None
    return Saying(f"console.text.{outcome.text_state}", why=_text_reason(outcome.text_reason))


def advice_of(outcome: Ending) -> str:
    """Return the key of what the account manager tells the customer and does."""
    match outcome.kind:
        case "granted":
            return "console.advice.granted_code" if outcome.with_code else "console.advice.granted_without"
        case "waiting":
            state = outcome.text_state if outcome.text_state in TEXT_STATES else "sending"
            return f"console.advice.waiting_{state}"
        case "denied":
            return f"console.advice.{_advice_on_denial(outcome)}"
        case _:
            return f"console.advice.{'under_way' if is_open(outcome) else 'not_decided'}"


def is_open(outcome: Ending) -> bool:
    """Return True while more may happen to the request, so that it is worth looking again.

    What has no decision by the time at which pages stop waiting for it is denied as too old, if it is ever read.
    """
    if outcome.kind in {"granted", "denied"}:
        return False
    return outcome.kind == "waiting" or (outcome.seconds or 0.0) < DECIDED_WITHIN.total_seconds()


def retry_at(outcome: Ending, now: datetime) -> datetime | None:
    """Return when a new request may succeed; None: at once, or not by waiting."""
    return outcome.retry_at if outcome.retry_at is not None and outcome.retry_at > now else None


def lines_of(steps: Sequence[StepSeen]) -> list[Line]:
    """Return the time line."""
    return [_line_of(step) for step in steps]


def _line_of(step: StepSeen) -> Line:
    place, expires = step.detail.get("place"), step.detail.get("expires_at")
    return Line(
        at=step.at,
        after_ms=None if step.after_ms is None else f"{step.after_ms:,.0f}".replace(",", "\u202f"),
        service=step.service if step.service in _SERVICES else "other",
        said=_said_of(step.what, step.detail),
        until=None if expires is None else datetime.fromisoformat(str(expires)),
        address=None if place is None else str(place).removesuffix("/32"),
        policy=step.detail.get("policy_version"),
    )


def _said_of(what: str, detail: Mapping[str, Any]) -> Saying:
    key = f"console.step.{what.replace('.', '_')}"
    match what:
        case "assessed":
            reasons = tuple(f"console.reason.{_named(one, _REASONS)}" for one in detail.get("reasons", ()))
            return Saying(f"{key}_{detail.get('outcome', 'challenge')}", why=reasons)
        case "challenged":
            return Saying(key, {"n": detail.get("attempts_max", 0)})
        case "answered":
            return Saying(f"{key}_{'right' if detail.get('accepted') else 'wrong'}", {"n": detail.get("tries_left", 0)})
        case "denied":
            return Saying(f"console.outcome.{_named(detail.get('reason'), _DENIALS)}")
        case _ if what in OWN_WORDS:
            blanks = {"send": "", "rows": "", "ticket": "", **detail}
            return Saying(key, blanks, _text_reason(detail.get("reason")) if what in _NOT_SENT else ())
        case _:
            return Saying("console.step.other", {"what": what})


def _advice_on_denial(outcome: Ending) -> str:
    match outcome.reason:
        case "code.expired":
            return "code_expired" if outcome.text_state == "accepted" else "code_expired_no_text"
        case "sms.suppressed" if outcome.text_reason in {"paused", "country"}:
            return f"sms_suppressed_{outcome.text_reason}"
        case "number.replaced" | "number.unknown":
            return "number_replaced"
        case "request.stale" | "request.future":
            return "request_stale"
        case _:
            return _named(outcome.reason, _DENIALS)


def _text_reason(reason: str | None) -> tuple[str, ...]:
    return (f"console.text_reason.{_named(reason, TEXT_REASONS)}",) if reason in TEXT_REASONS else ()


def _named(reason: str | None, known: frozenset[str]) -> str:
    """Return a reason as a part of a key, in which a dot would begin a table; `other` for one that has no words."""
    return reason.replace(".", "_") if reason in known and reason is not None else "other"
