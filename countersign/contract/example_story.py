"""What the examples have in common: published keys, ids, times, and what an example is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from countersign.contract import values
from countersign.runtime.messages.cloudevents import Event, write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.messages.record import Outgoing

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"  # W3C Trace Context's own example

NINE = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ACCOUNT = UUID("019ca8e4-1c00-7a01-8000-0000000000a1")
OWNER = UUID("019ca8e4-1c00-7a02-8000-0000000000b1")
MANAGED = UUID("019ca8e4-1c00-7a02-8000-0000000000b2")
STAFF = UUID("019ca8e4-1c00-7a02-8000-0000000000c1")
NUMBER = UUID("019ca8e4-1c00-7a03-8000-0000000000d1")
NEW_NUMBER = UUID("019ca8e4-1c00-7a03-8000-0000000000d2")
LIST = UUID("019ca8e4-1c00-7a04-8000-0000000000e1")
LOGIN = UUID("019cadf4-6e80-7c01-8000-000000000001")
EXPORT = UUID("019cadf4-6e80-7c01-8000-000000000002")
CONFIRMATION = UUID("019cadf4-6e80-7c01-8000-000000000003")
KNOWN_LOGIN = UUID("019cadf4-6e80-7c01-8000-000000000004")

CLIENT = values.Client(ip="203.0.113.7", locale="en-AU")
NOTHING = values.Summary()
CONTACTS = values.Summary(what="Spring customers", rows=412, format="csv")


@dataclass(frozen=True, slots=True)
class Example:
    """An event with its envelope. `authorises` is what the digest of an access request is made of."""

    name: str
    event: Event
    source: str
    time: datetime
    authorises: Mapping[str, Any] | None = None

    def record(self) -> Outgoing:
        """Return the record as its writer would publish it."""
        return write(self.event, source=self.source, time=self.time, traceparent=TRACE)
