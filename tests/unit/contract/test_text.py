"""Texts in events: what one of our parts would choke on, none of them is given."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from countersign.contract import Client, Summary
from countersign.contract.access import AccessRequested
from countersign.contract.json_schema import schema_of
from countersign.runtime.cloudevents import rfc3339

UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ANY = st.text(st.characters(), max_size=60)


def takes(text: str) -> bool:
    try:
        Summary.model_validate_json(json.dumps({"what": text}))
    except ValidationError:
        return False
    return True


@given(ANY)
def test_a_text_is_taken_unless_it_holds_a_control_or_a_lone_surrogate(text: str) -> None:
    """All categories but Cc, Cs, Zl and Zp; and what is taken can be written as UTF-8."""
    kinds = {unicodedata.category(character) for character in text}
    assert takes(text) == (not kinds & {"Cc", "Cs", "Zl", "Zp"})
    if takes(text):
        text.encode()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_the_published_pattern_says_the_same(text: str) -> None:
    """So that other languages refuse what our readers would refuse."""
    what = schema_of(AccessRequested)["properties"]["summary"]["properties"]["what"]["anyOf"][0]
    assert bool(re.search(what["pattern"], text)) == takes(text) or text.endswith("\n")


@given(ANY)
def test_a_text_of_a_summary_has_60_characters_at_most(text: str) -> None:
    """One text message has 160 in all."""
    assume(takes(text))
    padded = text + "x" * (60 - len(text))
    assert takes(padded)
    assert not takes(padded + "x")


@pytest.mark.parametrize("ip", ["203.0.113.7", "2001:db8::1", "::ffff:203.0.113.7", "::", "0.0.0.0"])
def test_an_address_is_taken_as_it_came(ip: str) -> None:
    """Whether it is usable is the risk-evaluator's question."""
    assert Client.model_validate_json(json.dumps({"ip": ip})).ip == ip


@pytest.mark.parametrize(
    "ip",
    ["", "203.0.113", "203.0.113.07", "203.0.113.7:80", "[::1]", "fe80::1%eth0", "1e3", "2001:db8::1/64", 3405803783],
)
def test_what_is_no_address_is_refused(ip: Any) -> None:
    """A port, a zone, a network or a number would be guessed at differently by every reader."""
    with pytest.raises(ValidationError):
        Client.model_validate_json(json.dumps({"ip": ip}))


@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.timezones()))  # noqa: DTZ001 - bounds are naive
def test_a_time_with_an_offset_is_read_as_it_was_written(time: datetime) -> None:
    """Whatever the offset, as far as RFC 3339 can write it."""
    offset = time.utcoffset()
    assume(offset is not None and offset.total_seconds() % 60 == 0)
    assert rfc3339(time.isoformat()).astimezone(UTC) == time.astimezone(UTC)  # an hour that a zone skips equals nothing
    assert rfc3339(time.astimezone(UTC).isoformat().replace("+00:00", "Z")) == time.astimezone(UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1757000000",
        "2026-03-02",
        "2026-03-02T12:00:00",
        "2026-03-02 12:00:00Z",
        "20260302T120000Z",
        "2026-W10-1T12:00:00Z",
        "2026-03-02T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-02T24:30:00Z",
        "2026-03-02T12:00:00+0100",
        "2026-03-02T12:00:00+99:00",
        "0001-01-01T00:00:00+10:00",
        "9999-12-31T23:59:59-10:00",
        "2026-03-02T12:00:00Z\n",
        "٢٠٢٦-03-02T12:00:00Z",
    ],
)
def test_another_way_to_write_a_time_is_refused(text: str) -> None:
    """And the message does not quote it."""
    with pytest.raises(ValueError, match=r"^expected an RFC 3339 time with its offset$"):
        rfc3339(text)
