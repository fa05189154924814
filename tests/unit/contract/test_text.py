"""Texts in events: what one of our parts would choke on, none of them is given."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from countersign.contract import TwoFactorDisabled
from countersign.contract.accounts import Setting
from countersign.contract.json_schema import schema_of
from countersign.runtime.messages.times import rfc3339

UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
ANY = st.text(st.characters(), max_size=60)


SETTING = {
    "account_id": str(uuid4()),
    "version": 1,
    "actor": {"kind": "system"},
    "chain_head": "A" * 43,
}


def takes(text: str) -> bool:
    try:
        Setting.model_validate_json(json.dumps(SETTING | {"reason": text}))
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
    reason = schema_of(TwoFactorDisabled)["properties"]["reason"]["anyOf"][0]
    assert bool(re.search(reason["pattern"], text)) == takes(text) or text.endswith("\n")


@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30), timezones=st.timezones()))  # noqa: DTZ001 - bounds are naive
def test_a_time_with_an_offset_is_read_as_it_was_written(time: datetime) -> None:
    """Whatever the offset, as far as RFC 3339 can write it."""
    offset = time.utcoffset()
    assume(offset is not None and offset.total_seconds() % 60 == 0)
    assert rfc3339(time.isoformat()).astimezone(UTC) == time.astimezone(UTC)  # an hour that a zone skips equals nothing
    assert rfc3339(time.astimezone(UTC).isoformat().replace("+00:00", "Z")) == time.astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-03-02t12:00:00z", "2026-03-02T12:00:00+00:00"),
        ("2026-03-02 12:00:00Z", "2026-03-02T12:00:00+00:00"),
        ("2026-03-02T12:00:00-00:00", "2026-03-02T12:00:00+00:00"),
        ("2026-03-02T12:00:00+23:59", "2026-03-01T12:01:00+00:00"),
        ("2026-03-02T12:00:00.5Z", "2026-03-02T12:00:00.500000+00:00"),
        ("2026-03-02T12:00:00.123456789Z", "2026-03-02T12:00:00.123456+00:00"),
        ("2026-03-02T12:00:00." + "9" * 200 + "Z", "2026-03-02T12:00:00.999999+00:00"),
        ("1990-12-31T23:59:60Z", "1991-01-01T00:00:00+00:00"),
        ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00+00:00"),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500000+00:00"),
        ("2026-06-30t23:59:60z", "2026-07-01T00:00:00+00:00"),
    ],
)
def test_a_time_is_read_as_rfc_3339_has_it(text: str, same: str) -> None:
    """Section 5.6 with its notes; the leap seconds are those of its section 5.8."""
    assert rfc3339(text).astimezone(UTC).isoformat() == same


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1757000000",
        "2026-03-02",
        "2026-03-02T12:00:00",
        "20260302T120000Z",
        "2026-W10-1T12:00:00Z",
        "2026-03-02T12:00Z",
        "2026-02-30T12:00:00Z",
        "2026-03-02T24:30:00Z",
        "2026-03-02T12:00:00+0100",
        "2026-03-02T12:00:00+99:00",
        "2026-03-02T12:00:00+24:00",
        "2026-03-02T12:00:00+10:60",
        "2026-03-02T12:00:00.Z",
        "2026-03-02T12:00:00,5Z",
        "2026-03-02T12:00:60Z",
        "2026-03-02T23:59:60Z",
        "2026-06-30T23:59:61Z",
        "2026-06-30T23:59:60+01:00",
        "2026-03-02  12:00:00Z",
        "2026-03-02\u00a012:00:00Z",
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
