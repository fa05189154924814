"""CloudEvents 1.0, Kafka protocol binding, binary mode: the envelope in headers, the value is the data alone.

Source: https://github.com/cloudevents/spec, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from countersign.runtime.errors import OffContract
from countersign.runtime.record import Incoming, Outgoing, Record

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE_BYTES_MAX = 64 * 1024  # ours, so that a dead letter fits a row and a batch fits memory
_NAMESPACE = uuid5(NAMESPACE_URL, "countersign")
# Control characters: PostgreSQL refuses U+0000, terminals and logs obey the others. Lone surrogates: JSON lets them
# pass, UTF-8 does not.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _fit(text: str) -> str:
    if _UNFIT.search(text):
        raise ValueError("no control characters and no lone surrogates")
    return text


# The pattern tells JSON Schema the same, but for lone surrogates, which its regular expressions cannot name.
Text = Annotated[
    str, AfterValidator(_fit), Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"})
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]{1,60}$")]


class Event(BaseModel):
    """The base of every event. Flat, frozen; readers ignore fields they do not know."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", use_attribute_docstrings=True)

    ce_type: ClassVar[str]
    topic: ClassVar[str]

    def natural_key(self) -> str:
        """Return what makes this event the same event however often it is made."""
        raise NotImplementedError

    def record_key(self) -> str:
        """Return the record's key: it only decides the partition."""
        raise NotImplementedError

    def event_id(self) -> UUID:
        """Return the ce_id: uuid5 of type and natural key."""
        return uuid5(_NAMESPACE, f"{self.ce_type}|{self.natural_key()}")


E = TypeVar("E", bound=Event)


def write(event: Event, *, source: str, time: datetime, traceparent: str | None = None) -> Outgoing:
    """Return the record of an event. `time` is the database's now; `source` names the service."""
    return write_raw(event, event.model_dump_json().encode(), source=source, time=time, traceparent=traceparent)


def write_raw(event: Event, value: bytes, *, source: str, time: datetime, traceparent: str | None = None) -> Outgoing:
    """Return the record of an event whose JSON was written elsewhere (one that carries a MAC over itself)."""
    if len(value) > VALUE_BYTES_MAX:
        raise ValueError(f"{event.ce_type} of {len(value)} bytes: at most {VALUE_BYTES_MAX} are written")
    event_id = event.event_id()
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event_id).encode()),
        ("ce_source", f"/countersign/{source}".encode()),
        ("ce_type", event.ce_type.encode()),
        ("ce_time", time.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()),
        ("content-type", b"application/json"),
    ]
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return Outgoing(event_id, event.topic, event.record_key().encode(), value, tuple(headers))


def read(
    record: Record, wanted: Mapping[str, type[E]], listed: frozenset[str], *, require_time: bool = True
) -> Incoming[E] | None:
    """Parse a record.

    `listed` are the types of the topic's file; of them `wanted` are used by this reader, the others give None.
    Raises OffContract with a cause that names the field, the expectation and what came, without quoting it.
    """
    if record.value is not None and len(record.value) > VALUE_BYTES_MAX:
        raise OffContract(f"value: at most {VALUE_BYTES_MAX} bytes are read; came {len(record.value)} bytes")
    name = _header(record, "ce_type")
    if name not in listed:
        raise OffContract(f"ce_type: expected one of {', '.join(sorted(listed))}; came {_told(name)}")
    _expect(record, "ce_specversion", "1.0")
    _expect(record, "content-type", "application/json")
    ce_id = _header(record, "ce_id")
    ce_time = _time(record) if require_time else record.appended_at
    model = wanted.get(name)
    if model is None:
        return None
    if record.value is None:
        raise OffContract("value: expected a JSON object; came nothing (a tombstone)")
    try:
        event = model.model_validate_json(record.value)
    except ValidationError as error:
        raise OffContract("; ".join(findings(error))) from None
    traceparent = record.header("traceparent")
    trace = traceparent.decode("ascii", "ignore")[:55] if traceparent else None
    return Incoming(event, record, ce_id, ce_time, trace)


def _header(record: Record, name: str) -> str:
    value = record.header(name)
    if value is None:
        raise OffContract(f"header {name}: missing")
    try:
        return _fit(value.decode())
    except (UnicodeDecodeError, ValueError):
        raise OffContract(f"header {name}: expected plain UTF-8 text; came {len(value)} bytes that are none") from None


def _expect(record: Record, name: str, wanted: str) -> None:
    value = _header(record, name)
    if value.split(";")[0].strip().lower() != wanted:
        raise OffContract(f"header {name}: expected {wanted}; came {_told(value)}")


def _time(record: Record) -> datetime:
    value = _header(record, "ce_time")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise OffContract(f"header ce_time: expected an RFC 3339 time; came {_told(value)}") from None
    if time.tzinfo is None:
        raise OffContract("header ce_time: expected an RFC 3339 time with its offset; came one without")
    return time


_EXPECTED = {
    "missing": "it is required",
    "json_invalid": "expected JSON",
    "model_type": "expected a JSON object",
    "uuid_parsing": "expected a UUID",
    "uuid_type": "expected a UUID",
    "string_type": "expected a string",
    "string_pattern_mismatch": "expected a string of the pattern in the schema",
    "datetime_from_date_parsing": "expected an RFC 3339 time",
    "datetime_parsing": "expected an RFC 3339 time",
    "datetime_type": "expected an RFC 3339 time",
    "timezone_aware": "expected an RFC 3339 time with its offset",
    "ip_any_address": "expected an IP address",
    "int_type": "expected an integer",
    "bool_type": "expected true or false",
    "list_type": "expected an array",
}


def findings(error: ValidationError) -> list[str]:
    """Say in words what is wrong: field, expectation, and the shape (never the content) of what came; three at most."""
    return [_finding(finding) for finding in error.errors(include_url=False)[:3]]


def _finding(finding: Any) -> str:
    kind = str(finding["type"])
    where = ".".join(str(part) for part in finding["loc"]) or "value"
    if kind == "missing":
        return f"{where}: missing"
    if kind in _EXPECTED:
        expected = _EXPECTED[kind]
    elif kind in {"literal_error", "enum"}:
        expected = f"expected one of {finding['ctx']['expected']}"
    elif kind in {"string_too_long", "string_too_short", "greater_than_equal", "less_than_equal", "value_error"}:
        expected = str(finding["msg"]).removeprefix("Value error, ")
    else:
        expected = f"is not as the schema says ({kind})"
    return f"{where}: {expected}; came {_told(finding['input'])}"


def _told(value: object) -> str:  # noqa: PLR0911 - one line a shape
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str() | bytes():
            return f"a string of {len(value)} characters"
        case dict():
            return f"an object of {len(value)} fields"
        case list() | tuple():
            return f"an array of {len(value)}"
        case _:
            return f"a {type(value).__name__}"
