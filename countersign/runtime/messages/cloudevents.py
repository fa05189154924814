"""CloudEvents 1.0, Kafka protocol binding, binary mode: the envelope in headers, the value is the data alone.

Source: https://github.com/cloudevents/spec, Kafka Protocol Binding 1.0.2, section 3.2.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from countersign.runtime.errors import OffContractError
from countersign.runtime.messages.findings import counted, findings, told
from countersign.runtime.messages.record import Incoming, Outgoing, Record
from countersign.runtime.messages.repairs import Repair
from countersign.runtime.messages.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

VALUE_BYTES_MAX = 64 * 1024  # ours, so that a dead letter fits a row and a batch fits memory
_NAMESPACE = uuid5(NAMESPACE_URL, "countersign")
# Control characters: PostgreSQL refuses U+0000, terminals and logs obey the others. Lone surrogates: JSON lets them
# pass, UTF-8 does not.
_UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_fit(text: str) -> bool:
    """Return True if the text has no control characters and no lone surrogates."""
    return _UNFIT.search(text) is None


def made_fit(text: str) -> str:
    """Return the text with one space in place of control characters, lone surrogates and runs of white space."""
    return " ".join(_UNFIT.sub(" ", text).split())


def _fit(text: str) -> str:
    if not is_fit(text):
        raise ValueError("expected text without control characters and lone surrogates")
    return text


# The pattern tells JSON Schema the same, but for lone surrogates, which its regular expressions cannot name.
Text = Annotated[
    str, AfterValidator(_fit), Field(json_schema_extra={"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"})
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]{1,60}$")]


_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?=-|\Z)")  # W3C Trace Context, 3.2


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


def read(record: Record, wanted: Mapping[str, type[E]], listed: frozenset[str]) -> Incoming[E] | None:
    """Parse a record.

    `listed` are the types of the topic's file; of them `wanted` are used by this reader, the others give None.
    What decides nothing is repaired, and `repairs` of what is returned say so.
    Raises OffContractError with a cause that names the field, the expectation and what came, without quoting it.
    """
    _check_lengths(record)
    headers = dict(reversed(record.headers))  # the first of a name counts
    repairs: list[Repair] = []
    _read_content_type(headers, repairs)
    if record.value is None and "ce_type" not in headers:
        raise OffContractError(_TOMBSTONE)
    name = _type(headers, listed)
    _check_version(headers)
    ce_id = _hint(headers, "ce_id", "the event's own id is used", repairs)
    _hint(headers, "ce_source", "the sender is not known", repairs)
    ce_time = _time(headers)
    model = wanted.get(name)
    if model is None:
        return None
    if record.value is None:
        raise OffContractError(_TOMBSTONE)
    try:
        event = parse_value(model, record.value, repairs)
    except ValidationError as error:
        raise OffContractError("; ".join(findings(error))) from None
    trace = _trace(headers, repairs)
    return Incoming(event, record, ce_id or str(event.event_id()), ce_time, trace, tuple(repairs))


_TOMBSTONE = "value: expected a JSON object; came nothing (a tombstone)"


def _check_lengths(record: Record) -> None:
    if record.value is not None and len(record.value) > VALUE_BYTES_MAX:
        raise OffContractError(f"value: at most {VALUE_BYTES_MAX} bytes are read; came {len(record.value)} bytes")
    around = sum(len(name) + len(value) for name, value in record.headers) + len(record.key or b"")
    if around > VALUE_BYTES_MAX:
        raise OffContractError(f"headers and key: at most {VALUE_BYTES_MAX} bytes are read; came {around} bytes")


def _read_content_type(headers: Mapping[str, bytes], repairs: list[Repair]) -> None:
    """Refuse structured mode. Whatever else it says, the value is read as JSON: that it is JSON shows by itself.

    Without one it is JSON (CloudEvents 1.0.2, section 3.1, `datacontenttype`).
    """
    value = headers.get("content-type")
    if value is None:
        value = next((each for name, each in headers.items() if name.lower() == "content-type"), None)
    if value is None:
        repairs.append(Repair("content-type", "it was missing, the value was read as application/json"))
        return
    media_type = value.partition(b";")[0].strip().lower()
    if media_type.startswith(b"application/cloudevents"):
        raise OffContractError(
            "header content-type: expected binary mode (ce_ headers, and a value that is the data alone); "
            "came structured mode"
        )
    if media_type != b"application/json":
        repairs.append(Repair("content-type", "it was another one, the value was read as application/json"))


def parse_value(model: type[E], value: bytes, repairs: list[Repair]) -> E:
    """Return the event of a record's value, and append what was repaired. Raises ValidationError."""
    try:
        return model.model_validate_json(value, context=repairs)
    except ValidationError as error:
        mended = _mended(value) if error.errors(include_url=False)[0]["type"] == "json_invalid" else None
        if mended is None:
            raise
    marked = value.startswith(BOM_UTF8)
    repairs.append(Repair("value", "the byte order mark was dropped" if marked else "half a character became a `?`"))
    return model.model_validate_json(mended, context=repairs)


def _mended(value: bytes) -> bytes | None:
    """Return JSON without what makes strict readers refuse it and decides nothing; None if it is no JSON at all.

    A byte order mark may be ignored (RFC 8259, section 8.1). Lone surrogates are what is left of a character outside
    the BMP where a text was cut by UTF-16 units: only free text can hold the `?` in its place.
    """
    try:
        parsed = json.loads(value.decode("utf-8-sig"))
        return json.dumps(parsed, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return None


def _trace(headers: Mapping[str, bytes], repairs: list[Repair]) -> str | None:
    """Return the trace if it is one: it goes into columns and on to the next topic. Later versions may be longer."""
    value = headers.get("traceparent")
    if value is None:
        return None
    found = _TRACEPARENT.match(value)
    if found is None:
        repairs.append(Repair("traceparent", "it was no W3C trace context, and was dropped"))
        return None
    return found[0].decode()


def _hint(headers: Mapping[str, bytes], name: str, otherwise: str, repairs: list[Repair]) -> str | None:
    """Return a header that decides nothing, or None after a repair."""
    try:
        return _header(headers, name)
    except OffContractError:
        repairs.append(Repair(name, f"it was missing or no plain text, {otherwise}"))
        return None


def _header(headers: Mapping[str, bytes], name: str) -> str:
    value = headers.get(name)
    if value is None:
        near = next((each for each in headers if each.lower().replace("-", "_") == name), None)
        raise OffContractError(
            f"header {name}: missing" + (f"; came {near}, Kafka's binding writes {name}" if near else "")
        )
    try:
        text = _fit(value.decode())
    except (UnicodeDecodeError, ValueError):
        came = f"{counted(len(value), 'byte')} of something else"
        raise OffContractError(f"header {name}: expected plain UTF-8 text; came {came}") from None
    if not text:
        raise OffContractError(f"header {name}: expected text; came an empty string")
    return text


def _type(headers: Mapping[str, bytes], listed: frozenset[str]) -> str:
    name = _header(headers, "ce_type")
    if name in listed:
        return name
    stem, _, version = name.rpartition(".v")
    known = next((each for each in listed if each.rpartition(".v")[0] == stem), None)
    if known is not None and version.isdecimal():
        raise OffContractError(f"header ce_type: expected {known}; came another major version of it")
    raise OffContractError(f"header ce_type: expected one of {', '.join(sorted(listed))}; came {told(name)}")


def _check_version(headers: Mapping[str, bytes]) -> None:
    value = _header(headers, "ce_specversion")
    if value != "1.0":
        raise OffContractError(f"header ce_specversion: expected 1.0; came {told(value)}")


def _time(headers: Mapping[str, bytes]) -> datetime:
    value = _header(headers, "ce_time")
    try:
        return rfc3339(value)
    except ValueError as error:
        raise OffContractError(f"header ce_time: {error}; came {told(value)}") from None
