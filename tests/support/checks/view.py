"""A world, parsed: events by their natural keys, codes opened, rows by theirs."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from countersign.contract import (
    AccessAssessed,
    AccessDenied,
    AccessGranted,
    AccessRequested,
    ChallengeIssued,
    ExportsReleased,
    MemberRemoved,
    MemberSet,
    NumberConfirmed,
    NumberProvided,
    NumberReplaced,
    NumberReset,
    NumberResetRecorded,
    PlacesForgotten,
    SmsAccepted,
    SmsRefused,
    SmsSuppressed,
    SmsUnknown,
    TwoFactorDisabled,
    TwoFactorEnabled,
    UserUnlocked,
    reader,
)
from countersign.runtime.errors import OffContractError
from services.notifier.codes import SealBrokenError, open_code

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.runtime.messages.record import Incoming, Record
    from tests.support.world import Row, World

TextKey = tuple[UUID, int]
Place = tuple[str, str, int, int]  # of a dead letter: service, topic, partition, offset
LONG_AGO = datetime.min.replace(tzinfo=UTC)

_READERS: dict[str, Callable[[Record], Incoming[Any] | None]] = {
    "access.requests.v1": reader(AccessRequested),
    "access.assessments.v1": reader(AccessAssessed),
    "access.challenges.v1": reader(ChallengeIssued),
    "access.decisions.v1": reader(AccessGranted, AccessDenied),
    "sms.deliveries.v1": reader(SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown),
    "account.members.v1": reader(MemberSet, MemberRemoved),
    "account.settings.v1": reader(
        TwoFactorEnabled,
        TwoFactorDisabled,
        NumberProvided,
        NumberConfirmed,
        NumberReplaced,
        NumberReset,
        NumberResetRecorded,
        UserUnlocked,
        PlacesForgotten,
        ExportsReleased,
    ),
}


@dataclass
class View:
    """What the checks look at. A group of events has one natural key: it is one event, perhaps published twice."""

    world: World
    events: dict[str, list[Incoming[Any]]] = field(default_factory=dict)
    unread: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        for topic, read in _READERS.items():
            self.events[topic] = []
            for record in self.world.topic(topic):
                try:
                    incoming = read(record)
                except OffContractError:
                    self.unread.append(record)
                else:
                    assert incoming is not None
                    self.events[topic].append(incoming)

    @cached_property
    def requests(self) -> dict[UUID, list[Incoming[AccessRequested]]]:
        return self._by("access.requests.v1", lambda event: event.request_id)

    @cached_property
    def assessments(self) -> dict[UUID, list[Incoming[AccessAssessed]]]:
        return self._by("access.assessments.v1", lambda event: event.request_id)

    @cached_property
    def challenges(self) -> dict[TextKey, list[Incoming[ChallengeIssued]]]:
        return self._by("access.challenges.v1", lambda event: (event.challenge_id, event.send))

    @cached_property
    def decisions(self) -> dict[UUID, list[Incoming[AccessGranted | AccessDenied]]]:
        return self._by("access.decisions.v1", lambda event: event.request_id)

    @cached_property
    def deliveries(self) -> dict[TextKey, list[Incoming[Any]]]:
        return self._by("sms.deliveries.v1", lambda event: (event.challenge_id, event.send))

    def _by(self, topic: str, key: Callable[[Any], Any]) -> dict[Any, list[Incoming[Any]]]:
        found: defaultdict[Any, list[Incoming[Any]]] = defaultdict(list)
        for incoming in self.events[topic]:
            found[key(incoming.event)].append(incoming)
        return dict(found)

    @cached_property
    def codes(self) -> dict[str, set[TextKey]]:
        """Return which texts a code belongs to, opened with the notifier's key."""
        found: defaultdict[str, set[TextKey]] = defaultdict(set)
        for key, group in self.challenges.items():
            for incoming in group:
                secret = self.world.keys.codes.get(incoming.event.key_id)
                if secret is None:
                    continue
                try:
                    found[open_code(secret, json.loads(incoming.record.value or b"")).digits].add(key)
                except SealBrokenError:
                    continue
        return dict(found)

    @cached_property
    def accepted(self) -> dict[UUID, list[Row]]:
        """Return the accepted answers of each challenge."""
        found: defaultdict[UUID, list[Row]] = defaultdict(list)
        for row in self.world.table("verifier.answer"):
            if row["accepted"]:
                found[row["challenge_id"]].append(row)
        return dict(found)

    @cached_property
    def dead(self) -> set[Place]:
        """Return where dead letters lie, by the service that keeps them."""
        return {
            (name.partition(".")[0], row["topic"], row["partition"], row["offset"])
            for name, rows in self.world.tables.items()
            if name.endswith(".dead_letter")
            for row in rows
        }

    def is_dead(self, service: str, record: Record) -> bool:
        """Tell whether a service keeps a record as a dead letter."""
        return (service, record.topic, record.partition, record.offset) in self.dead

    def rows(self, table: str, *columns: str) -> dict[Any, Row]:
        """Return the rows of a table by one column, or by several."""
        rows = self.world.table(table)
        if len(columns) == 1:
            return {row[columns[0]]: row for row in rows}
        return {tuple(row[column] for column in columns): row for row in rows}
