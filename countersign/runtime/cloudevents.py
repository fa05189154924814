"""CloudEvents 1.0, Kafka protocol binding, binary mode: the envelope in headers, the value is the data alone.

Source: https://github.com/cloudevents/spec, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from functools import lru_cache
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
        raise ValueError("expected text without control characters and lone surrogates")
    return text


# The pattern tells JSON Schema the same, but for lone surrogates, which its regular expressions cannot name.
Text = Annotated[
    str, AfterValidator(_fit), Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"})
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]{1,60}$")]


_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?=-|\Z)")  # W3C Trace Context, 3.2
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def rfc3339(text: str) -> datetime:
    """Return the time. Raises ValueError, which quotes nothing, for other ways to write one, such as without offset.

    Years 1970 to 9998: at the calendar's ends a change of offset overflows, here and in PostgreSQL.
    """
    if _RFC3339.fullmatch(text):
        with contextlib.suppress(ValueError):
            time = datetime.fromisoformat(text)
            if 1970 <= time.year < 9999:  # noqa: PLR2004 - the docstring says why
                return time
    raise ValueError("expected an RFC 3339 time with its offset")


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


def value_of(event: Event) -> bytes:
    """Return the record's value of an event: the same bytes whenever it is written."""
    return event.model_dump_json().encode()


def write(event: Event, *, source: str, time: datetime, traceparent: str | None = None) -> Outgoing:
    """Return the record of an event. `time` is the database's now; `source` names the service."""
    return write_raw(event, value_of(event), source=source, time=time, traceparent=traceparent)


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
        ("ce_time", _written(time)),
        ("content-type", b"application/json"),
    ]
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return Outgoing(event_id, event.topic, event.record_key().encode(), value, tuple(headers))


@lru_cache(64)
def _written(time: datetime) -> bytes:
    """Return the time as a header's value; a batch has one time."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()


def read(
    record: Record, wanted: Mapping[str, type[E]], listed: frozenset[str], *, require_time: bool = True
) -> Incoming[E] | None:
    """Parse a record.

    `listed` are the types of the topic's file; of them `wanted` are used by this reader, the others give None.
    Raises OffContract with a cause that names the field, the expectation and what came, without quoting it.
    """
    if record.value is not None and len(record.value) > VALUE_BYTES_MAX:
        raise OffContract(f"value: at most {VALUE_BYTES_MAX} bytes are read; came {len(record.value)} bytes")
    around = sum(len(name) + len(value) for name, value in record.headers) + len(record.key or b"")
    if around > VALUE_BYTES_MAX:
        raise OffContract(f"headers and key: at most {VALUE_BYTES_MAX} bytes are read; came {around} bytes")
    headers = dict(reversed(record.headers))  # the first of a name counts
    name = _type(headers, listed)
    _expect(headers, "ce_specversion", "1.0")
    _expect(headers, "content-type", "application/json")
    ce_id = _header(headers, "ce_id")
    _header(headers, "ce_source")
    ce_time = _time(headers) if require_time else record.appended_at
    model = wanted.get(name)
    if model is None:
        return None
    if record.value is None:
        raise OffContract("value: expected a JSON object; came nothing (a tombstone)")
    try:
        event = model.model_validate_json(record.value)
    except ValidationError as error:
        raise OffContract("; ".join(findings(error))) from None
    return Incoming(event, record, ce_id, ce_time, _trace(record))


def _trace(record: Record) -> str | None:
    """Return the trace if it is one: it goes into columns and on to the next topic. Later versions may be longer."""
    found = _TRACEPARENT.match(record.header("traceparent") or b"")
    return found[0].decode() if found else None


def _header(headers: Mapping[str, bytes], name: str) -> str:
    value = headers.get(name)
    if value is None:
        raise OffContract(f"header {name}: missing")
    try:
        text = _fit(value.decode())
    except (UnicodeDecodeError, ValueError):
        came = f"{_counted(len(value), 'byte')} of something else"
        raise OffContract(f"header {name}: expected plain UTF-8 text; came {came}") from None
    if not text:
        raise OffContract(f"header {name}: expected text; came an empty string")
    return text


def _type(headers: Mapping[str, bytes], listed: frozenset[str]) -> str:
    name = _header(headers, "ce_type")
    if name in listed:
        return name
    stem, _, version = name.rpartition(".v")
    known = next((each for each in listed if each.rpartition(".v")[0] == stem), None)
    if known is not None and version.isdecimal():
        raise OffContract(f"header ce_type: expected {known}; came another major version of it")
    raise OffContract(f"header ce_type: expected one of {', '.join(sorted(listed))}; came {_told(name)}")


def _expect(headers: Mapping[str, bytes], name: str, wanted: str) -> None:
    value = _header(headers, name)
    if value != wanted and value.split(";")[0].strip().lower() != wanted:
        raise OffContract(f"header {name}: expected {wanted}; came {_told(value)}")


def _time(headers: Mapping[str, bytes]) -> datetime:
    value = _header(headers, "ce_time")
    try:
        return rfc3339(value)
    except ValueError as error:
        raise OffContract(f"header ce_time: {error}; came {_told(value)}") from None


_EXPECTED = {
    "json_invalid": "expected JSON ({error})",
    "model_type": "expected a JSON object",
    "uuid_parsing": "expected a UUID",
    "uuid_type": "expected a UUID",
    "string_type": "expected a string",
    "string_pattern_mismatch": "expected a string that matches {pattern}",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} characters",
    "too_long": "expected a length of at most {max_length}",
    "too_short": "expected a length of at least {min_length}",
    "datetime_type": "expected an RFC 3339 time with its offset",
    "timezone_aware": "expected an RFC 3339 time with its offset",
    "int_type": "expected an integer",
    "int_parsing_size": "expected a smaller integer",
    "greater_than_equal": "expected at least {ge}",
    "less_than_equal": "expected at most {le}",
    "bool_type": "expected true or false",
    "list_type": "expected an array",
    "literal_error": "expected one of {expected}",
    "enum": "expected one of {expected}",
    "value_error": "{error}",
}


def findings(error: ValidationError) -> list[str]:
    """Say in words what is wrong: field, expectation, and the shape (never the content) of what came; three at most."""
    return [_finding(finding) for finding in error.errors(include_url=False)[:3]]


def _finding(finding: Any) -> str:
    kind = str(finding["type"])
    where = ".".join(str(part) for part in finding["loc"]) or "value"
    if kind == "missing":
        return f"{where}: missing"
    expected = _EXPECTED.get(kind, f"is not as the schema says ({kind})").format(**finding.get("ctx", {}))
    return f"{where}: {expected}; came {_told(finding['input'])}"


def _told(value: object) -> str:  # noqa: PLR0911 - one line a shape
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case bytes():
            return _counted(len(value), "byte")
        case str():
            return f"a string of {_counted(len(value), 'character')}"
        case dict():
            return f"an object of {_counted(len(value), 'field')}"
        case list() | tuple():
            return f"an array of {_counted(len(value), 'item')}"
        case _:
            return f"a {type(value).__name__}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
