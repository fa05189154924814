"""What became of a request, in a sentence for people on call."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

from countersign.timeline.story import ending_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from countersign.timeline.story import Ending, Story

# What a person is told of each reason; the reason itself stands behind it.
_DENIED: Mapping[str, str] = {
    "request.stale": "the request was read too late",
    "request.future": "the producer's clock is ahead",
    "member.unknown": "the user is no member of the account",
    "number.missing": "the user has no number that a code could go to",
    "number.unknown": "the number that was named is not the user's, or not theirs any more",
    "number.replaced": "the number was replaced, or the user removed, while the code was on its way",
    "number.recent": "exports are held, as a number or the setting changed a short while ago",
    "code.expired": "no right code was entered in time",
    "code.exhausted": "wrong codes used up the tries",
    "sms.refused": "the provider refused the text",
    "sms.suppressed": "no text was sent: a text limit was reached, its country is not served, or texts are stopped",
    "cancelled": "somebody cancelled it, or a newer challenge took its place",
    "locked": "too many wrong codes in a row: the user has to wait",
}
# Why a text was suppressed, in the notifier's words, as its limits count.
_SUPPRESSED: Mapping[str, str] = {
    "paused": "texts are stopped (see `countersign texts status`)",
    "country": "texts to the country of that number are not sent",
    "number.gap": "another text to that number had just been sent",
    "number.hour": "that number had got as many texts in an hour as are allowed",
    "number.day": "that number had got as many texts in a day as are allowed",
    "account.hour": "the account had got as many texts in an hour as are allowed",
    "late": "the code would have come too late to be entered",
}
_ALLOWED: Mapping[str, str] = {
    "ip.known": "the account has used this address before",
    "two_factor.off": "two-factor is off",
}


def outcome_of(story: Story, now: datetime) -> str:
    """Return in a sentence what became of the request and why."""
    ending = ending_of(story, now)
    match ending.kind:
        case "unknown":
            return "No service knows it. It may be a dead letter (countersign why), or it was never published."
        case "denied":
            return _denied(ending)
        case "granted":
            return _granted(ending)
        case "waiting":
            challenged = story.last("challenged")
            number = "a number" if challenged is None else challenged.detail["number"]
            tries = "1 try is left" if ending.tries_left == 1 else f"{ending.tries_left} tries are left"
            until = _moment(ending.until)
            return f"Waits for the code that goes to {number}, until {until}; {tries}.{_text_state(ending)}"
        case _:
            return _not_decided(ending)


def _not_decided(ending: Ending) -> str:
    match ending.kind:
        case "unassessed":
            return f"The risk-evaluator has not judged it for {ending.seconds:.0f} s: see countersign lag."
        case "unread":
            return f"Assessed, and the verifier has not read that for {ending.seconds:.0f} s: see countersign lag."
        case _:
            return "The verifier took it in and has not decided it: this should take no longer than a moment."


def _denied(ending: Ending) -> str:
    reason = str(ending.reason)
    later = f" A new request may fare better from {_moment(ending.retry_at)}." if ending.retry_at else ""
    suppressed = _SUPPRESSED.get(str(ending.text_reason))
    if reason == "sms.suppressed" and suppressed is not None:
        return f"Denied: no text was sent, as {suppressed} ({reason}).{later}"
    return f"Denied: {_DENIED.get(reason, reason)} ({reason}).{_text_state(ending)}{later}"


def _granted(ending: Ending) -> str:
    if not ending.with_code:
        why = "" if ending.reason is None else f": {_ALLOWED[ending.reason]} ({ending.reason})"
        return f"Granted without a code{why}."
    after = "" if ending.seconds is None else f", {ending.seconds:.0f} s after its text was issued"
    return f"Granted with a code at try {ending.attempt}{after}."


def _text_state(ending: Ending) -> str:
    if ending.text_state is None:
        return ""
    return f" Its last text: {ending.text_state}{f' ({ending.text_reason})' if ending.text_reason else ''}."


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
