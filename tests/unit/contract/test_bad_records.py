"""Bad input, each with the cause it gets: the field, what was expected, the shape of what came, and no value."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from countersign.contract import EVENTS, TYPES_OF, AccessRequested, MemberSet, examples, reader
from countersign.contract.json_schema import schema_of
from countersign.runtime.errors import OffContractError
from countersign.runtime.messages.record import Record

if TYPE_CHECKING:
    from countersign.runtime.messages.cloudevents import Event

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECRET = "s3cret-Value"  # stands where a value can, and may stand in no cause
EXAMPLES = {type(each.event): each for each in examples.all_examples()}
ACTIONS = "'login', 'export', 'confirm_number', 'change_number', 'manage_member' or 'manager_act'"
STRUCTURED = (
    "header content-type: expected binary mode (ce_ headers, and a value that is the data alone); came structured mode"
)
# What decides nothing in what others send us: test_hints.py has what becomes of it.
HINTS = {AccessRequested: {"client", "summary"}, MemberSet: {"name", "locale"}}
every_event = pytest.mark.parametrize("model", EVENTS, ids=lambda model: model.ce_type)


def a_good_record(model: type[Event]) -> Record:
    out = EXAMPLES[model].record()
    return Record(out.topic, 0, 0, out.key, out.value, out.headers, NOON)


def with_value(record: Record, value: bytes | None) -> Record:
    return dataclasses.replace(record, value=value)


def with_fields(record: Record, **fields: Any) -> Record:
    return with_value(record, json.dumps(json.loads(record.value or b"{}") | fields).encode())


def with_header(record: Record, name: str, value: bytes | None) -> Record:
    kept = tuple(pair for pair in record.headers if pair[0] != name)
    return dataclasses.replace(record, headers=kept if value is None else ((name, value), *kept))


def cause_of(record: Record, model: type[Event]) -> str:
    """Return why a record is refused; fails if it is read."""
    with pytest.raises(OffContractError) as refusal:
        reader(model)(record)
    assert SECRET not in refusal.value.cause
    return refusal.value.cause


@every_event
@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (SECRET.encode(), "value: expected JSON (expected value at line 1 column 1); came 12 bytes"),
        (b"", "value: expected JSON (EOF while parsing a value at line 1 column 0); came 0 bytes"),
        (b"\xff\xfe\x00", "value: expected JSON (expected value at line 1 column 1); came 3 bytes"),
        (b"<event/>", "value: expected JSON (expected value at line 1 column 1); came 8 bytes"),
        (b"[" * 60_000, "value: expected JSON (recursion limit exceeded at line 1 column 202); came 60000 bytes"),
        (b"null", "value: expected a JSON object; came null"),
        (b"[1, 2]", "value: expected a JSON object; came an array of 2 items"),
        (b'"text"', "value: expected a JSON object; came a string of 4 characters"),
        (b"17", "value: expected a JSON object; came an integer"),
        (None, "value: expected a JSON object; came nothing (a tombstone)"),
        (b"x" * 900_000, "value: at most 65536 bytes are read; came 900000 bytes"),
    ],
    ids=["text", "empty", "no_utf8", "xml", "deep", "null", "array", "string", "number", "tombstone", "900_kb"],
)
def test_a_value_that_is_no_object(model: type[Event], value: bytes | None, cause: str) -> None:
    """On every topic."""
    assert cause_of(with_value(a_good_record(model), value), model) == cause


@every_event
@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("ce_type", None, "header ce_type: missing"),
        ("ce_time", None, "header ce_time: missing"),
        ("ce_specversion", None, "header ce_specversion: missing"),
        ("ce_type", b"", "header ce_type: expected text; came an empty string"),
        ("ce_time", b"\xff", "header ce_time: expected plain UTF-8 text; came 1 byte of something else"),
        ("ce_type", b"a\x00b", "header ce_type: expected plain UTF-8 text; came 3 bytes of something else"),
        ("ce_specversion", b"0.3", "header ce_specversion: expected 1.0; came a string of 3 characters"),
        (
            "content-type",
            b"application/CloudEvents+JSON; charset=UTF-8",
            STRUCTURED,
        ),
        ("content-type", b"application/cloudevents-batch+json", STRUCTURED),
        (
            "ce_time",
            SECRET.encode(),
            "header ce_time: expected an RFC 3339 time with its offset; came a string of 12 characters",
        ),
        (
            "ce_time",
            b"2026-03-02T12:00:00",
            "header ce_time: expected an RFC 3339 time with its offset; came a string of 19 characters",
        ),
    ],
)
def test_an_envelope_that_lacks_something(model: type[Event], name: str, value: bytes | None, cause: str) -> None:
    """On every topic."""
    assert cause_of(with_header(a_good_record(model), name, value), model) == cause


@every_event
def test_an_unknown_type(model: type[Event]) -> None:
    """Names those that the topic's file lists."""
    listed = ", ".join(sorted(TYPES_OF[model.topic]))
    came = with_header(a_good_record(model), "ce_type", SECRET.encode())
    assert cause_of(came, model) == f"header ce_type: expected one of {listed}; came a string of 12 characters"


@every_event
def test_another_major_version(model: type[Event]) -> None:
    """It may mean anything."""
    came = with_header(a_good_record(model), "ce_type", model.ce_type.replace(".v1", ".v2").encode())
    assert cause_of(came, model) == f"header ce_type: expected {model.ce_type}; came another major version of it"


def deciding(model: type[Event]) -> list[str]:
    """Return the required fields that decide something."""
    return [name for name in schema_of(model)["required"] if name not in HINTS.get(model, ())]


@every_event
def test_a_missing_field(model: type[Event]) -> None:
    """Each required one, alone."""
    record = a_good_record(model)
    for name in deciding(model):
        fields = json.loads(record.value or b"")
        del fields[name]
        assert cause_of(with_value(record, json.dumps(fields).encode()), model) == f"{name}: missing"


@every_event
def test_no_field_at_all(model: type[Event]) -> None:
    """The first three are told: enough to see what kind of mistake it is."""
    required = deciding(model)
    told = "; ".join(f"{name}: missing" for name in required[:3])
    assert cause_of(with_value(a_good_record(model), b"{}"), model) == told


def kinds(part: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field without its null."""
    return next((each for each in part.get("anyOf", ()) if each.get("type") != "null"), part)


def expectation(part: dict[str, Any]) -> str:
    """Return what the cause says is expected where an array or an object came."""
    form = part.get("format")
    if form in {"uuid", "date-time"}:
        return {"uuid": "expected a UUID", "date-time": "expected an RFC 3339 time with its offset"}[form]
    if "enum" in part or "const" in part:
        return "expected one of "
    words = {
        "string": "expected a string",
        "integer": "expected an integer",
        "boolean": "expected true or false",
        "array": "expected an array",
        "object": "expected a JSON object",
    }
    return words[part["type"]]


@every_event
def test_a_field_of_another_type(model: type[Event]) -> None:
    """Each field, alone, with an object or an array in its place."""
    record = a_good_record(model)
    for name, field in schema_of(model)["properties"].items():
        if name in HINTS.get(model, ()):
            continue
        part = kinds(field)
        wrong: Any = [SECRET] if part.get("type") == "object" else {SECRET: SECRET}
        shape = "an array of 1 item" if isinstance(wrong, list) else "an object of 1 field"
        cause = cause_of(with_fields(record, **{name: wrong}), model)
        assert cause.startswith(f"{name}: {expectation(part)}"), cause
        assert cause.endswith(f"; came {shape}"), cause


@every_event
def test_an_id_that_is_none(model: type[Event]) -> None:
    """Every field that is a UUID."""
    record = a_good_record(model)
    names = [name for name, field in schema_of(model)["properties"].items() if kinds(field).get("format") == "uuid"]
    assert "account_id" in names
    for name in names:
        cause = cause_of(with_fields(record, **{name: SECRET}), model)
        assert cause == f"{name}: expected a UUID; came a string of 12 characters"


@every_event
def test_control_characters(model: type[Event]) -> None:
    """In every string of whatever form: PostgreSQL, terminals and logs each choke on some."""
    record = a_good_record(model)
    for name, field in schema_of(model)["properties"].items():
        if kinds(field).get("type") == "string" and "format" not in kinds(field):
            for bad in ("\x00", "\x1b[2J", "\u009b", "\u2028"):
                # Grants and proofs are opaque here: whoever acts on one checks its signature.
                if name not in {"grant", "proof"} and name not in HINTS.get(model, ()):
                    cause = cause_of(with_fields(record, **{name: f"{SECRET}{bad}"}), model)
                    assert cause.startswith(f"{name}: expected "), cause


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"action": SECRET}, f"action: expected one of {ACTIONS}; came a string of 12 characters"),
        ({"action": None}, f"action: expected one of {ACTIONS}; came null"),
        ({"request_id": 17}, "request_id: expected a UUID; came an integer"),
        ({"request_id": None}, "request_id: expected a UUID; came null"),
        ({"number_id": ""}, "number_id: expected a UUID; came a string of 0 characters"),
        ({"number_id": 5}, "number_id: expected a UUID; came an integer"),
        (
            {"digest": SECRET},
            "digest: expected a string that matches ^[A-Za-z0-9_-]{43}$; came a string of 12 characters",
        ),
        (
            {"digest": "A" * 43 + "="},
            "digest: expected a string that matches ^[A-Za-z0-9_-]{43}$; came a string of 44 characters",
        ),
        (
            {"digest": 1, "summary": 2, "client": 3, "action": 4},
            (f"action: expected one of {ACTIONS}; came an integer; digest: expected a string; came an integer"),
        ),
    ],
)
def test_what_a_gateways_developer_reads(fields: dict[str, Any], cause: str) -> None:
    """An access request with one mistake, and with four."""
    assert cause_of(with_fields(a_good_record(AccessRequested), **fields), AccessRequested) == cause


def test_a_name_in_camel_case_is_told() -> None:
    """The most likely mistake of a program whose language writes names so."""
    record = a_good_record(AccessRequested)
    fields = json.loads(record.value or b"")
    fields["requestId"] = fields.pop("request_id")
    cause = cause_of(with_value(record, json.dumps(fields).encode()), AccessRequested)
    assert cause == "request_id: missing; came requestId"


def test_a_header_named_as_in_http_is_told() -> None:
    """CloudEvents' HTTP binding writes ce-type, its Kafka binding ce_type."""
    good = with_header(a_good_record(AccessRequested), "ce_type", None)
    came = dataclasses.replace(good, headers=(*good.headers, ("ce-type", b"countersign.access.requested.v1")))
    assert cause_of(came, AccessRequested) == ("header ce_type: missing; came ce-type, Kafka's binding writes ce_type")


def test_structured_mode_is_refused_in_words() -> None:
    """It has no ce_ headers at all, and that is not what is wrong with it."""
    came = dataclasses.replace(
        a_good_record(AccessRequested), headers=(("content-type", b"application/cloudevents+json"),)
    )
    assert cause_of(came, AccessRequested) == STRUCTURED


def test_a_tombstone_without_headers_is_told_as_one() -> None:
    """As compaction has them, and as no reader of ours takes them."""
    came = dataclasses.replace(a_good_record(MemberSet), headers=(), value=None)
    assert cause_of(came, MemberSet) == "value: expected a JSON object; came nothing (a tombstone)"


def test_a_time_that_is_seconds() -> None:
    """Some libraries take them for a time, even as text."""
    model = next(event for event in EVENTS if event.ce_type == "countersign.access.assessed.v1")
    for seconds, shape in ((1757000000, "an integer"), ("1757000000", "a string of 10 characters")):
        cause = cause_of(with_fields(a_good_record(model), requested_at=seconds), model)
        assert cause == f"requested_at: expected an RFC 3339 time with its offset; came {shape}"


def test_the_first_of_two_headers_of_one_name_counts() -> None:
    """As `Record.header` says; a second one cannot smuggle another type past it."""
    good = a_good_record(AccessRequested)
    twice = dataclasses.replace(good, headers=(*good.headers, ("ce_type", b"countersign.access.granted.v1")))
    assert reader(AccessRequested)(twice) is not None
