"""What a dead letter says of itself: whose request it was about, as far as that can be read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.messages.cloudevents import VALUE_BYTES_MAX
from countersign.runtime.messages.record import Record
from countersign.runtime.messages.sources import ABSENT, OTHER, SOURCES_MAX, Sources

ID = "019cadf4-6e80-7c01-8000-000000000001"


def request_id_in(value: bytes | None) -> UUID | None:
    record = Record("access.requests.v1", 0, 0, None, value, (), datetime(2026, 1, 1, tzinfo=UTC))
    return DeadLetter(record, "off_contract", "digest: missing").request_id


@pytest.mark.parametrize(
    "value",
    [
        {"request_id": ID},
        {"request_id": ID.upper()},
        {"data": {"request_id": ID}},
        {"request_id": 7, "data": {"request_id": ID}},
    ],
    ids=["binary mode", "upper case", "structured mode", "an id inside"],
)
def test_an_id_is_found(value: dict[str, Any]) -> None:
    """In both modes of CloudEvents."""
    assert request_id_in(json.dumps(value).encode()) == UUID(ID)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\x00\xff",
        b"[]",
        b'"x"',
        b"[" * 100_000,
        b'{"request_id": null}',
        b'{"request_id": "%b "}' % ID.encode(),
        b'{"request_id": "{%b}"}' % ID.encode(),
        b'{"request_id": ["%b"]}' % ID.encode(),
        b'{"data": []}',
        b'{"request_id": "%b", "x": "%b"}' % (ID.encode(), b"x" * VALUE_BYTES_MAX),
    ],
    ids=range(12),
)
def test_nothing_else_is(value: bytes | None) -> None:
    """And nothing raises."""
    assert request_id_in(value) is None


def test_sources_are_few_and_plain() -> None:
    """A label's values stay few, whatever producers write into ce_source."""
    sources = Sources()
    assert sources.name(None) == sources.name(b"") == ABSENT
    assert [sources.name(odd) for odd in (b"a b", b"\xff", b"x" * 61, b"\n")] == [OTHER] * 4
    assert [sources.name(b"/%d" % n) for n in range(SOURCES_MAX)] == [f"/{n}" for n in range(SOURCES_MAX)]
    assert sources.name(b"/one-more") == OTHER
    assert sources.name(b"/0") == "/0"
