"""The event that tells what became of a text: one for each, whichever the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.contract import SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown
from countersign.runtime.messages import cloudevents
from services.notifier.model import State

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from countersign.runtime.messages.record import Outgoing

_EVENTS: dict[State, type[SmsAccepted | SmsRefused | SmsSuppressed | SmsUnknown]] = {
    State.ACCEPTED: SmsAccepted,
    State.REFUSED: SmsRefused,
    State.SUPPRESSED: SmsSuppressed,
    State.UNKNOWN: SmsUnknown,
}
PROVIDER = "sns"


def delivery_of(row: asyncpg.Record, now: datetime) -> Outgoing:
    """Return the event of a dispatch row that has come to its end."""
    event = _EVENTS[State(row["state"])](
        challenge_id=row["challenge_id"],
        account_id=row["account_id"],
        user_id=row["user_id"],
        send=row["send"],
        number_id=row["number_id"],
        country=row["country"],
        segments=row["segments"],
        provider=PROVIDER,
        provider_message_id=row["provider_message_id"],
        reason=row["reason"],
        retry_at=row["retry_at"],
    )
    return cloudevents.write(event, source="notifier", time=now, traceparent=row["traceparent"])
