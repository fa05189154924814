"""Odd but honest input: a field that decides nothing never costs a log-in, and every repair is reported."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from structlog import get_logger
from structlog.testing import capture_logs

from countersign.contract import AccessRequested, Client, MemberSet, Summary, examples, reader
from countersign.contract.hints import nearest_locale
from countersign.runtime.messages.record import Incoming, Record
from countersign.runtime.messages.repairs import LOGGED_EVERY_SECONDS, RepairReports
from countersign.runtime.messages.sources import SOURCES_MAX, Sources

if TYPE_CHECKING:
    from countersign.runtime.messages.cloudevents import Event

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EXAMPLES = {type(each.event): each for each in examples.all_examples()}
ABSENT = "it was no IP address, and counts as absent"
NEAREST, NO_LOCALE = "it was no language tag, the nearest was taken", "it was no language tag, none was taken"


def a_record(model: type[Event], value: bytes | None = None, **headers: bytes | None) -> Record:
    """Return the contract's example, with headers changed or (None) without them; `_` stands for a hyphen."""
    out = EXAMPLES[model].record()
    changed = {name.replace("content_type", "content-type"): each for name, each in headers.items()}
    kept = {name: each for name, each in (dict(out.headers) | changed).items() if each is not None}
    return Record(out.topic, 0, 7, out.key, out.value if value is None else value, tuple(kept.items()), NOON)


def with_fields(model: type[Event], fields: dict[str, Any], without: str | None = None) -> Record:
    sent = json.loads(EXAMPLES[model].record().value) | fields
    sent.pop(without or "", None)
    return a_record(model, json.dumps(sent).encode())


def taken(record: Record, model: type[Event] = AccessRequested) -> Incoming[Any]:
    """Return what was read. The record itself stays as it was sent: others take the hash of its bytes."""
    before = dataclasses.replace(record)
    incoming = reader(model)(record)
    assert incoming is not None
    assert incoming.record == before
    return incoming


def told(incoming: Incoming[Any]) -> list[str]:
    return [f"{repair.field}: {repair.words}" for repair in incoming.repairs]


@pytest.mark.parametrize(
    ("ip", "read", "words"),
    [
        ("203.0.113.7", "203.0.113.7", None),
        ("2001:DB8::2", "2001:DB8::2", None),
        (None, None, None),
        ("203.0.113.79:51000", "203.0.113.79", "the port was dropped"),
        ("[2001:db8::2]:443", "2001:db8::2", "the port was dropped"),
        ("[2001:db8::2]", "2001:db8::2", "the brackets were dropped"),
        ('"[2001:db8::2]:443"', "2001:db8::2", "what stood around it was and the port was dropped"),
        ("fe80::1%eth0", "fe80::1", "the zone was dropped"),
        ("[fe80::1%eth0]:80", "fe80::1", "the port was and the zone was dropped"),
        (" 203.0.113.79\t", "203.0.113.79", "what stood around it was dropped"),
        *(
            (odd, None, ABSENT)
            for odd in ("unknown", "", "_hidden", "203.0.113.7, 10.0.0.1", "203.0.113.07", "203.0.113", "1e3", "a.b:80")
        ),
        *((odd, None, ABSENT) for odd in ("[::1", "[::1]x", "2001:db8::1/64", "1" * 9000, "%", ":", "٣.1.1.1")),
        *((odd, None, ABSENT) for odd in (3405803783, 1.5, True, [], ["203.0.113.7"], {"v4": "203.0.113.7"})),
    ],
)
def test_an_address_is_read_as_proxies_write_it_or_counts_as_absent(ip: object, read: str | None, words: str) -> None:
    """Where nobody can vouch for one, a code is asked for. A list is no address: its left part is anybody's claim."""
    incoming = taken(with_fields(AccessRequested, {"client": {"ip": ip}}))
    assert incoming.event.client == Client(ip=read)
    assert [line for line in told(incoming) if line.startswith("client")] == ([f"client.ip: {words}"] if words else [])


@pytest.mark.parametrize(
    ("locale", "read"),
    [
        ("en_AU", "en-AU"),
        ("en_AU.UTF-8", "en-AU"),
        ("ca_ES@valencia", "ca-ES"),
        ("zh_CN_#Hans", "zh-CN"),
        ("en-US,en;q=0.9", "en-US"),
        ("de;q=0.3, sv-SE;q=0.8, *;q=0.1", "sv-SE"),
        ("en;q=0, de;q=0.1", "de"),
        ("en-US-u-hc-h12", "en-US"),
        ("de-DE-1996-x-private", "de-DE-1996"),
        (" en ", "en"),
        *((odd, None) for odd in ("", "C", "POSIX", "C.UTF-8", "*", "english please", "i-klingon", "x-x", "-", "_")),
        *((odd, None) for odd in ("en\u0000", "," * 9000)),
        ("en\n", "en"),
        *((odd, None) for odd in (5, 0.5, False, [], ["en"], {}, {"en": "AU"})),
    ],
)
def test_a_language_is_the_nearest_tag_or_none(locale: object, read: str | None) -> None:
    """POSIX names, Accept-Language as it came, tags with extensions, and what is none."""
    incoming = taken(with_fields(AccessRequested, {"client": {"locale": locale}}))
    assert incoming.event.client.locale == read
    assert told(incoming) == [f"client.locale: {NEAREST if read else NO_LOCALE}"]
    member = taken(with_fields(MemberSet, {"locale": locale}), MemberSet)
    assert member.event.locale == read
    assert told(member) == [f"locale: {NEAREST if read else NO_LOCALE}"]


@given(st.text(max_size=30))
def test_whatever_the_language_the_tag_fits(text: str) -> None:
    """Or there is none."""
    nearest = nearest_locale(text)
    assert Client(locale=text).locale in {nearest, text}
    assert nearest is None or Client.model_validate_json(json.dumps({"locale": nearest})).locale == nearest


ANOTHER = "content-type: it was another one, the value was read as application/json"
UNKNOWN = "ce_source: it was missing or no plain text, the sender is not known"
OWN_ID = "ce_id: it was missing or no plain text, the event's own id is used"
LEFT_OUT = "it was no text, and was left out"
NO_ROWS = "it was no whole number from 0 to 1000000000000, and was left out"


@pytest.mark.parametrize(
    ("summary", "read", "words"),
    [
        ({"what": "x" * 61}, Summary(what="x" * 61), []),
        ({"what": "x" * 200}, Summary(what="x" * 200), []),
        ({"what": "x" * 201}, Summary(what="x" * 199 + "…"), ["summary.what: it was cut to 200 characters"]),
        ({"what": "two\nlines\u0000"}, Summary(what="two lines"), ["summary.what: control characters were dropped"]),
        ({"what": "\u0007"}, Summary(), ["summary.what: control characters were dropped"]),
        ({"what": 6}, Summary(what="6"), ["summary.what: the number was read as text"]),
        *(({"what": odd}, Summary(), [f"summary.what: {LEFT_OUT}"]) for odd in (True, 1.5, [], {"en": "x"}, 10**400)),
        ({"format": "x" * 99}, Summary(format="x" * 99), []),
        ({"format": ["csv"]}, Summary(), [f"summary.format: {LEFT_OUT}"]),
        ({"rows": "412"}, Summary(rows=412), ["summary.rows: it was read as a whole number"]),
        ({"rows": 412.0}, Summary(rows=412), ["summary.rows: it was read as a whole number"]),
        *(
            ({"rows": odd}, Summary(), [f"summary.rows: {NO_ROWS}"])
            for odd in (-1, 10**13, 10**400, 4.5, True, "4.5", "")
        ),
        *(
            ({"rows": odd}, Summary(), [f"summary.rows: {NO_ROWS}"])
            for odd in ([], {}, "", True, "٣", "9" * 13, -0.5, 1e300)
        ),
        *((odd, Summary(), ["summary: it was no object, an empty one was taken"]) for odd in (None, 5, "x", [], True)),
    ],
)
def test_a_summary_only_changes_what_the_text_shows(summary: object, read: Summary, words: list[str]) -> None:
    """The digest is carried as it came: it covers what the producer meant."""
    incoming = taken(with_fields(AccessRequested, {"summary": summary}))
    assert incoming.event.summary == read
    assert incoming.event.digest == json.loads(EXAMPLES[AccessRequested].record().value)["digest"]
    assert told(incoming) == words


@pytest.mark.parametrize("field", ["client", "summary"])
@pytest.mark.parametrize("odd", [None, "here", 5, [], "missing"])
def test_without_client_or_summary_empty_ones_are_taken(field: str, odd: object) -> None:
    """Nobody vouches for an address then, and the text shows nothing."""
    record = with_fields(AccessRequested, {field: odd}, without=field if odd == "missing" else None)
    incoming = taken(record)
    assert getattr(incoming.event, field) == {"client": Client(), "summary": Summary()}[field]
    how = "it was missing" if odd == "missing" else "it was no object"
    assert told(incoming) == [f"{field}: {how}, an empty one was taken"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("x" * 201, "x" * 199 + "…"),
        ("Chloé\nMüller", "Chloé Müller"),
        ("", "(no name)"),
        (None, "(no name)"),
        ("\u0000", "(no name)"),
        ({"first": "Chloé"}, "(no name)"),
        (17, "17"),
    ],
)
def test_a_members_name_never_costs_the_membership(name: object, read: str) -> None:
    """Without it every log-in of that person would be `member.unknown`."""
    incoming = taken(with_fields(MemberSet, {"name": name}), MemberSet)
    assert incoming.event.name == read
    assert {repair.field for repair in incoming.repairs} == {"name"}
    missing = taken(with_fields(MemberSet, {}, without="name"), MemberSet)
    assert missing.event.name == "(no name)"
    assert told(missing) == ["name: it was missing, (no name) is shown"]


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"content_type": None}, ["content-type: it was missing, the value was read as application/json"]),
        ({"content_type": b"application/json; charset=utf-8"}, []),
        ({"content_type": b"Application/JSON"}, []),
        ({"content_type": b"text/plain"}, [ANOTHER]),
        ({"content_type": b""}, [ANOTHER]),
        ({"content_type": b"\xff"}, [ANOTHER]),
        *(({"ce_source": odd}, [UNKNOWN]) for odd in (None, b"", b"\xff", b"a\x00")),
        *(({"ce_id": odd}, [OWN_ID]) for odd in (None, b"", b"\xff")),
        ({"traceparent": b"none"}, ["traceparent: it was no W3C trace context, and was dropped"]),
        ({"traceparent": b""}, ["traceparent: it was no W3C trace context, and was dropped"]),
        ({"traceparent": None}, []),
        ({"ce_time": b"2026-03-02t12:00:00z"}, []),
        ({"ce_time": b"2026-03-02 12:00:00.123456789-00:00"}, []),
    ],
)
def test_an_envelope_that_is_odd_is_read(headers: dict[str, bytes | None], words: list[str]) -> None:
    """What decides is the type, the version of the envelope and the time."""
    incoming = taken(a_record(AccessRequested, **headers))
    assert told(incoming) == words
    assert incoming.ce_id


def test_a_value_with_a_byte_order_mark_is_read() -> None:
    """RFC 8259, section 8.1: it may be ignored."""
    good = EXAMPLES[AccessRequested].record().value
    incoming = taken(a_record(AccessRequested, b"\xef\xbb\xbf" + good))
    assert told(incoming) == ["value: the byte order mark was dropped"]
    assert incoming.event == taken(a_record(AccessRequested)).event


def test_half_a_character_is_read() -> None:
    """JavaScript's `name.slice(0, 60)` cuts an emoji in two, and JSON can write what is left; UTF-8 cannot."""
    incoming = taken(with_fields(AccessRequested, {"summary": {"what": "Party \ud83c"}}))
    assert incoming.event.summary == Summary(what="Party ?")
    assert told(incoming) == ["value: half a character became a `?`"]


SIMPLE = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
ANYTHING = SIMPLE | st.lists(SIMPLE, max_size=3) | st.dictionaries(st.text(max_size=5), SIMPLE, max_size=3)


@given(st.dictionaries(st.sampled_from(["ip", "locale", "what", "rows", "format"]), ANYTHING))
def test_no_client_whatever_costs_a_log_in(client: dict[str, Any]) -> None:
    """Also those that nobody thought of."""
    sent = json.loads(EXAMPLES[AccessRequested].record().value) | {"client": client, "summary": client}
    incoming = taken(a_record(AccessRequested, json.dumps(sent).encode()))
    strict = incoming.event.model_dump_json()
    assert AccessRequested.model_validate_json(strict, context=(again := [])) == incoming.event
    assert again == []  # what leaves for the next reader is clean


def test_repairs_are_counted_by_field_and_source_and_logged_now_and_then() -> None:
    """Anybody may choose their own ce_source: those beyond the first few are counted together."""
    registry, seconds = CollectorRegistry(), [0.0]
    counter = Counter("repaired", "Repairs.", ("topic", "field", "source"), registry=registry)

    def counted(source: str) -> float | None:
        labels = {"topic": "access.requests.v1", "field": "client.locale", "source": source}
        return registry.get_sample_value("repaired_total", labels)

    def odd(source: bytes | None) -> Incoming[Any]:
        record = with_fields(AccessRequested, {"client": {"locale": "en_AU"}})
        kept = tuple(pair for pair in record.headers if pair[0] != "ce_source")
        return taken(dataclasses.replace(record, headers=kept if source is None else (*kept, ("ce_source", source))))

    with capture_logs() as logs:
        reports = RepairReports(counter, Sources(), get_logger(), monotonic=lambda: seconds[0])
        reports.report(taken(a_record(AccessRequested)))
        for _ in range(3):
            reports.report(odd(b"/platform/login"))
        assert (counted("/platform/login"), len(logs)) == (3, 1)
        seconds[0] += LOGGED_EVERY_SECONDS
        reports.report(odd(b"/platform/login"))
        assert len(logs) == 2
        for number in range(100):
            reports.report(odd(b"/somebody/%d" % number))
        reports.report(odd(b"/with space"))
        reports.report(odd(None))
    assert counted("other") == 100 - (SOURCES_MAX - 1) + 1
    assert counted("absent") == 1
    assert len({line["source"] for line in logs}) == SOURCES_MAX + 2
    assert logs[0] == {
        "event": "message_repaired",
        "log_level": "warning",
        "topic": "access.requests.v1",
        "partition": 0,
        "offset": 7,
        "field": "client.locale",
        "source": "/platform/login",
        "words": NEAREST,
    }
