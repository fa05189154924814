"""What became of a text, and of the challenge it belongs to; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from countersign.contract import SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown
from countersign.runtime.errors import OffContractError
from services.verifier.model import Delivered, Denied, Send

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.contract import DenialReason
    from services.verifier.model import Challenge, TextState

Delivery: TypeAlias = "SmsAccepted | SmsRefused | SmsSuppressed | SmsUnknown"

STATES: dict[type[Delivery], TextState] = {
    SmsAccepted: "accepted",
    SmsRefused: "refused",
    SmsSuppressed: "suppressed",
    SmsUnknown: "unknown",
}
_UNDELIVERABLE: dict[TextState, DenialReason] = {"refused": "sms.refused", "suppressed": "sms.suppressed"}


@dataclass(frozen=True, slots=True)
class Texts:
    """A challenge, locked, and its texts by number."""

    challenge: Challenge
    sends: Mapping[int, Send]


def may_end(event: Delivery) -> bool:
    """Tell whether a challenge can be over with it."""
    return STATES[type(event)] in _UNDELIVERABLE


def deliver(event: Delivery, texts: Texts | None) -> Delivered | None:
    """Return what follows; None for a text whose outcome is known: the first one stands."""
    if texts is None:
        raise OffContractError("challenge_id: expected a challenge of this verifier; came another")
    asked = texts.challenge.asked
    if (event.account_id, event.user_id, event.number_id) != (asked.account_id, asked.user_id, asked.number_id):
        raise OffContractError("challenge_id: belongs to another account, user or number")
    before = texts.sends.get(event.send)
    if before is None:
        raise OffContractError("send: expected a text of this challenge; came another number")
    if before.state != "sending":
        return None
    after = Send(event.send, before.issued_at, STATES[type(event)], event.reason, event.retry_at)
    return Delivered(event.challenge_id, after, asked, _ending(texts, after))


def _ending(texts: Texts, after: Send) -> Denied | None:
    """Close a challenge when no text of it will arrive, for the reason of its latest one."""
    if texts.challenge.closed_at is not None:
        return None
    sends = {**texts.sends, after.send: after}
    if any(send.state not in _UNDELIVERABLE for send in sends.values()):
        return None
    latest = sends[max(sends)]
    return Denied(texts.challenge.asked, _UNDELIVERABLE[latest.state], latest.retry_at)
