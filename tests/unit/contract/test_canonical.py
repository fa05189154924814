"""Canonical JSON against the reference implementation, and digests that change with whatever they cover."""

from __future__ import annotations

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from countersign.contract import base64url, canonical, digest_of, from_base64url

# RFC 8785 writes numbers as ECMAScript does; integers beyond 2^53 are not exact there, and rfc8785 refuses them.
INTEGERS = st.integers(min_value=-(2**53) + 1, max_value=2**53 - 1)
NAMES = st.text(st.characters(max_codepoint=127), max_size=12)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(NAMES, part, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


@given(OBJECTS)
def test_canonical_json_is_that_of_the_reference(value: dict[str, Any]) -> None:
    """For all that our events can hold: ASCII names, strings, integers, booleans, null, arrays, objects."""
    assert canonical(value) == rfc8785.dumps(value)


@given(OBJECTS)
def test_canonical_json_survives_a_detour(value: dict[str, Any]) -> None:
    """Whatever spaces and order a sender uses: the receiver's canonical form is the same."""
    detour = json.dumps(dict(reversed(value.items())), indent=3, ensure_ascii=True)
    assert canonical(json.loads(detour)) == canonical(value)


@pytest.mark.parametrize(
    "value",
    [
        {"amount": 1.0},
        {"deep": [{"amount": 0.5}]},
        {"amount": float("nan")},
        {"amount": float("inf")},
        {"größe": 1},
        {"deep": {"größe": 1}},
        {1: "a name that is a number"},
        {"text": "\ud800"},
        {"\ud800": "text"},
    ],
    ids=repr,
)
def test_what_has_no_one_form_is_refused(value: Any) -> None:
    """Floats, names beyond ASCII (their order differs between languages), lone surrogates."""
    with pytest.raises(ValueError):  # noqa: PT011 - UnicodeEncodeError is one, and each message is another
        canonical(value)


def test_an_example_by_hand() -> None:
    """Names in order, no spaces, no escapes but those JSON needs."""
    value = {"b": [True, None, -1], "a": 'ü "quoted"\n', "A": {}}
    assert canonical(value) == '{"A":{},"a":"ü \\"quoted\\"\\n","b":[true,null,-1]}'.encode()


def test_a_digest_by_hand() -> None:
    """The one that schemas/README.md computes with openssl."""
    assert canonical({"user_id": "u1", "request_id": "r1"}) == b'{"request_id":"r1","user_id":"u1"}'
    assert digest_of({"user_id": "u1", "request_id": "r1"}) == "ojj3begmeVioyqT7j0fubPlX5baRODaZ-sfPTPiF4k8"


@given(OBJECTS, NAMES, VALUES)
def test_a_digest_changes_with_whatever_it_covers(value: dict[str, Any], name: str, other: Any) -> None:
    """A field added, taken away or changed is another deed."""
    changed = value | {name: other}
    assert (digest_of(value) == digest_of(changed)) == (canonical(value) == canonical(changed))


@given(st.binary(max_size=80))
def test_base64url_goes_there_and_back(value: bytes) -> None:
    """Without padding, in letters that need no escape in a URL."""
    text = base64url(value)
    assert from_base64url(text) == value
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("text", ["A", "A+/A", "AAAA=AAA", "AA==", "ab\ncd", "ü"])
def test_what_is_no_base64url_is_refused(text: str) -> None:
    """Rather than read in some lenient way that another reader does not share."""
    with pytest.raises(ValueError):  # noqa: PT011 - binascii.Error is one
        from_base64url(text)
