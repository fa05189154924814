"""What a span is, and what its attributes are called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.messages.record import Record
    from countersign.runtime.tracing.context import Context

Attributes = dict[str, str | int]

# Only these are read from an event: no other field of it can get into a span.
_IDS = ("request_id", "challenge_id", "user_id")
_PREFIX = "countersign."


class SpanKind(StrEnum):
    """The kinds of OpenTelemetry's specification."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    CLIENT = "client"
    SERVER = "server"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Span:
    """A span that has ended. Times are nanoseconds since 1970; `error` is the word for a failure."""

    name: str
    kind: SpanKind
    context: Context
    parent: Context | None
    began: int
    ended: int
    attributes: Attributes
    error: str | None = None


def ours(**named: object) -> Attributes:
    """Return attributes of our own: ids as text, words and numbers; what is None is left out."""
    return {
        f"{_PREFIX}{name}": value if isinstance(value, int) else str(value)
        for name, value in named.items()
        if value is not None
    }


def ids_of_event(event: object) -> Attributes:
    """Return whom an event is about."""
    return ours(**{name: getattr(event, name, None) for name in _IDS})


def ids_of_value(value: bytes) -> Attributes:
    """Return whom a record is about, from its JSON."""
    try:
        parsed: Mapping[str, object] = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return ours(**{name: parsed.get(name) for name in _IDS}) if isinstance(parsed, dict) else {}


def messaging(operation: str, topic: str, partition: int | None, offset: int | None, message_id: str) -> Attributes:
    """Return the attributes of OpenTelemetry's semantic conventions for messaging with Kafka."""
    named: Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.message.id": message_id,
    }
    if partition is not None:
        named["messaging.destination.partition.id"] = str(partition)
    if offset is not None:
        named["messaging.kafka.offset"] = offset
    return named


def traceparent_of_record(record: Record) -> str:
    """Return the traceparent of a record as it came; empty if it has none."""
    return (record.header("traceparent") or b"").decode("ascii", "replace")
