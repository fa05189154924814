"""What comes from Kafka, what it means, and what is to leave for Kafka."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.messages.repairs import Repair

Event_co = TypeVar("Event_co", covariant=True)

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as Kafka holds it. `appended_at` is the broker's clock (LogAppendTime)."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    appended_at: datetime

    def header(self, name: str) -> bytes | None:
        """Return the first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Incoming(Generic[Event_co]):
    """A parsed event with its envelope. `now` never comes from here: it comes with the load.

    `repairs` say what of the event is not as it was sent; `record` always is.
    """

    event: Event_co
    record: Record
    ce_id: str
    ce_time: datetime
    traceparent: str | None = None
    repairs: tuple[Repair, ...] = ()

    @property
    def made_at(self) -> datetime:
        """The older of what the producer and what the broker say: nobody makes an event younger than it is."""
        return min(self.ce_time, self.record.appended_at)

    def raw(self) -> Mapping[str, Any]:
        """Return the event's JSON object as it was sent, fields unknown to this reader included."""
        parsed: Mapping[str, Any] = json.loads(self.record.value or b"null")
        return parsed


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record that is due for Kafka. `event_id` is derived from type and natural key, so twice is the same."""

    event_id: UUID
    topic: str
    key: bytes
    value: bytes = field(repr=False)
    headers: Headers = field(repr=False)


def headers_to_text(headers: Headers) -> str:
    """Return headers as JSON for a text column; any bytes survive (one code point a byte)."""
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers]).decode()


def headers_from_text(text: str) -> Headers:
    """Undo `headers_to_text`."""
    return tuple((name, value.encode("latin-1")) for name, value in orjson.loads(text))
