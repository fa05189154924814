"""Which event lives on which topic, and how a reader picks those it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from countersign.contract import access, accounts, challenges
from countersign.runtime.messages.cloudevents import Event, read

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.runtime.messages.record import Incoming, Record

E = TypeVar("E", bound=Event)

EVENTS: tuple[type[Event], ...] = (
    access.AccessRequested,
    access.AccessAssessed,
    access.AccessGranted,
    access.AccessDenied,
    challenges.ChallengeIssued,
    challenges.SmsAccepted,
    challenges.SmsRefused,
    challenges.SmsSuppressed,
    challenges.SmsUnknown,
    accounts.MemberSet,
    accounts.MemberRemoved,
    accounts.TwoFactorEnabled,
    accounts.TwoFactorDisabled,
    accounts.NumberProvided,
    accounts.NumberConfirmed,
    accounts.NumberReplaced,
    accounts.NumberReset,
    accounts.NumberResetRecorded,
    accounts.UserUnlocked,
    accounts.PlacesForgotten,
    accounts.ExportsReleased,
)

TYPES_OF: dict[str, frozenset[str]] = {
    topic: frozenset(event.ce_type for event in EVENTS if event.topic == topic)
    for topic in sorted({event.topic for event in EVENTS})
}


def reader(*wanted: type[E]) -> Callable[[Record], Incoming[E] | None]:
    """Return a parser of one topic's records that gives the wanted events and skips the topic's other types."""
    topics = {model.topic for model in wanted}
    if len(topics) != 1:
        raise ValueError("a reader reads one topic")
    by_type = {model.ce_type: model for model in wanted}
    listed = TYPES_OF[topics.pop()]

    def parse(record: Record) -> Incoming[E] | None:
        return read(record, by_type, listed)

    return parse
