"""Our records against the CloudEvents SDK: it reads what we write, and we read what it writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from countersign.contract import EVENTS, examples, reader
from countersign.runtime.messages.cloudevents import VALUE_BYTES_MAX, write
from countersign.runtime.messages.record import Record
from tests.support.events import a_member_set, an_access_requested

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
BY_TYPE = {model.ce_type: model for model in EVENTS}
EXAMPLES = examples.all_examples()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.event.ce_type}-{each.name}")
def test_the_sdk_reads_what_we_write(example: examples.Example) -> None:
    """Binary mode: attributes from the headers, data from the value."""
    out = example.record()
    event = from_binary(KafkaMessage(dict(out.headers), out.key, out.value), JSONFormat())
    assert event.get_specversion() == "1.0"
    assert event.get_id() == str(out.event_id)
    assert event.get_type() == example.event.ce_type
    assert event.get_source() == f"/countersign/{example.source}"
    assert event.get_time() == example.time
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == json.loads(out.value)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.event.ce_type}-{each.name}")
def test_we_read_what_the_sdk_writes(example: examples.Example) -> None:
    """From any program that uses the SDK, with a source of its own."""
    attributes = {
        "specversion": "1.0",
        "id": "0001",
        "source": "https://platform.example/login",
        "type": example.event.ce_type,
        "time": example.time.astimezone(timezone(timedelta(hours=10))),
        "datacontenttype": "application/json",
    }
    message = to_binary(CloudEvent(attributes, json.loads(example.event.model_dump_json())), JSONFormat())
    record = Record(example.event.topic, 3, 14, None, message.value, tuple(message.headers.items()), example.time)
    incoming = reader(BY_TYPE[example.event.ce_type])(record)
    assert incoming is not None
    assert incoming.event == example.event
    assert incoming.ce_id == "0001"
    assert incoming.ce_time == example.time


def test_the_same_fact_has_the_same_id_however_often_it_is_written() -> None:
    """And another fact another id: version by version, send by send."""
    member = a_member_set(version=3)
    first, second = (write(member, source="gateway", time=NOON + timedelta(hours=h)) for h in (0, 1))
    assert first.event_id == second.event_id
    later = write(member.model_copy(update={"version": 4}), source="gateway", time=NOON)
    assert later.event_id != first.event_id


def test_a_record_of_a_listed_type_that_the_reader_does_not_use_is_skipped() -> None:
    """Whatever its value is: that is its own readers' business."""
    member = a_member_set()
    out = write(member, source="gateway", time=NOON)
    record = Record(out.topic, 0, 0, out.key, b"not for us", out.headers, NOON)
    removed = next(model for model in EVENTS if model.__name__ == "MemberRemoved")
    assert reader(removed)(record) is None


def test_more_than_64_kib_is_not_written() -> None:
    """The reader would make a dead letter of it."""
    locales = "x" * (VALUE_BYTES_MAX + 1)
    event = an_access_requested().model_copy(update={"digest": locales})
    with pytest.raises(ValueError, match="at most 65536 are written"):
        write(event, source="gateway", time=NOON)


def test_a_time_is_written_in_utc_with_a_z() -> None:
    """As the CloudEvents examples have it."""
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    headers = dict(write(an_access_requested(), source="gateway", time=tokyo).headers)
    assert headers["ce_time"] == b"2026-03-02T12:00:00Z"


def test_an_event_is_as_old_as_the_older_of_its_times() -> None:
    """A producer's clock can make it older and never younger."""
    out = write(an_access_requested(), source="gateway", time=NOON)
    parse = reader(BY_TYPE["countersign.access.requested.v1"])
    for appended in (NOON - timedelta(minutes=5), NOON + timedelta(minutes=5)):
        incoming = parse(Record(out.topic, 0, 0, out.key, out.value, out.headers, appended))
        assert incoming is not None
        assert incoming.made_at == min(NOON, appended)


def test_a_reader_reads_one_topic() -> None:
    """Two would hide which topic's types are listed."""
    requested, removed = (BY_TYPE[f"countersign.{name}.v1"] for name in ("access.requested", "account.member_removed"))
    with pytest.raises(ValueError, match="one topic"):
        reader(requested, removed)
