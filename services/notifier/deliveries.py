"""The event that tells what became of a text: one for each, whichever the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from countersign.contract import SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown
from countersign.runtime.messages import cloudevents
from services.notifier.decide import LATE
from services.notifier.model import Addressed, Settlement, State

if TYPE_CHECKING:
    from datetime import datetime

    from countersign.runtime.messages.record import Outgoing
    from services.notifier.model import Dispatch

_EVENTS: dict[State, type[SmsAccepted | SmsRefused | SmsSuppressed | SmsUnknown]] = {
    State.ACCEPTED: SmsAccepted,
    State.REFUSED: SmsRefused,
    State.SUPPRESSED: SmsSuppressed,
    State.UNKNOWN: SmsUnknown,
}
PROVIDER = "sns"


def delivery_of(end: Settlement, to: Addressed, at: datetime) -> Outgoing:
    """Return the event of a text that came to its end `at` that time, by the database's clock."""
    event = _EVENTS[end.state](
        challenge_id=end.key[0],
        account_id=to.account_id,
        user_id=to.user_id,
        send=end.key[1],
        number_id=to.number_id,
        country=to.country,
        segments=end.segments,
        provider=PROVIDER,
        provider_message_id=end.message_id,
        reason=end.reason,
        retry_at=end.retry_at,
    )
    return cloudevents.write(event, source="notifier", time=at, traceparent=to.traceparent)


def with_delivery(settlement: Settlement, to: Addressed, at: datetime) -> Settlement:
    """Return a settlement with the event that it owes; one of a text that is due again owes none."""
    if settlement.state is State.DUE:
        return settlement
    return replace(settlement, delivery=delivery_of(settlement, to, at))


def late_delivery(text: Dispatch, at: datetime) -> Outgoing:
    """Return the event of a text that came too late to become due."""
    to = Addressed(text.account_id, text.user_id, text.number_id, None, text.traceparent)
    end = Settlement(text.key, State.DUE, 0, State.SUPPRESSED, LATE, text.expires_at)
    return delivery_of(end, to, at)
