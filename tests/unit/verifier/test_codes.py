"""Codes: drawn, sealed, kept and read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import ChallengeIssued, canonical, from_base64url
from services.verifier.codes import digest_code, draw, normalise, sealed
from services.verifier.model import FreshCode
from tests.support.challenges import CHALLENGE, CODE, NOON, OTHER, PEPPER
from tests.support.events import a_challenge_issued, a_client, a_summary

SECRET = b"s" * 32
FRESH = FreshCode(CODE, b"n" * 12)


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("123456", CODE),
        (" 123 456 ", CODE),
        ("123-456", CODE),
        ("12\u201334\u201456", CODE),
        ("123\u2212456", CODE),
        ("123\u00a0456", CODE),
        ("123\u3000456", CODE),
        ("１２３４５６", CODE),  # noqa: RUF001 - full-width digits are the case
        ("000000", "000000"),
        ("12345", None),
        ("1234567", None),
        ("", None),
        ("      ", None),
        ("abcdef", None),
        ("12345a", None),
        ("\u0661\u0662\u0663\u0664\u0665\u0666", CODE),  # Arabic-Indic
        ("\u0967\u0968\u0969\u096a\u096b\u096c", CODE),  # Devanagari
        ("12345\u06f6", CODE),  # extended Arabic-Indic six
        ("\u200e123456\u200f", CODE),  # direction marks
        ("\ufeff123\u200b456", CODE),  # a byte order mark, a space of no width
        ("123\u00ad456", CODE),  # a soft hyphen
        ("\u2066123456\u2069", CODE),  # isolates, as a right-to-left page copies them
        ("123\u3164456", CODE),  # a Hangul filler
        ("12345\u00b2", None),  # superscript two
        ("12345\u2465", None),  # circled six
        ("+23456", None),
        ("123.456", None),
        ("123\n456", CODE),
        ("\t123\u2028456\r\n", CODE),
        ("123\x00456", CODE),
        ("123456" + " " * 59, None),
        ("123456" + " " * 58, CODE),
    ],
)
def test_codes_are_read_as_people_type_them(typed: str, code: str | None) -> None:
    """White space, dashes and unseen characters are dropped, every script has digits; anything else is off form."""
    assert normalise(typed, 6) == code


def test_a_code_has_its_digits_and_its_zeros() -> None:
    """Six by default, eight by setting, each with its leading zeros."""
    drawn = [draw(6) for _ in range(2000)]
    assert all(len(fresh.code) == 6 and fresh.code.isdigit() for fresh in drawn)
    assert any(fresh.code.startswith("0") for fresh in drawn)
    assert len({fresh.nonce for fresh in drawn}) == len(drawn)
    assert len(draw(8).code) == 8


def test_nothing_shows_a_code() -> None:
    """Neither repr nor str."""
    assert CODE not in repr(FRESH) + str(FRESH)


def test_a_digest_is_of_one_code_of_one_text_of_one_challenge() -> None:
    """Each part of it changes it."""
    digests = {
        digest_code(PEPPER, CHALLENGE, 1, CODE),
        digest_code(PEPPER, CHALLENGE, 2, CODE),
        digest_code(PEPPER, CHALLENGE, 1, "123457"),
        digest_code(PEPPER, OTHER, 1, CODE),
        digest_code(b"q" * 32, CHALLENGE, 1, CODE),
    }
    assert len(digests) == 5


def test_a_sealed_code_opens_with_its_event() -> None:
    """Also when a reader of today meets a field of tomorrow: the associated data is the raw object."""
    assert _opened(_raw(sealed(a_challenge_issued(), FRESH, SECRET))) == CODE


@pytest.mark.parametrize(
    "change",
    [
        {"number_id": str(OTHER)},
        {"send": 2},
        {"expires_at": NOON.isoformat()},
        {"summary": {"what": "Everything", "rows": None, "format": None}},
        {"action": "export"},
        {"user_id": str(OTHER)},
        {"challenge_id": str(OTHER)},
        {"client": {"ip": "198.51.100.9", "locale": "en"}},
        {"key_id": "another"},
        {"added": "later"},
    ],
)
def test_a_sealed_code_does_not_open_with_a_changed_event(change: dict[str, Any]) -> None:
    """Whoever writes on access.challenges cannot send himself somebody's code."""
    issued = a_challenge_issued(client=a_client(), summary=a_summary(what="List", rows=3))
    with pytest.raises(InvalidTag):
        _opened({**_raw(sealed(issued, FRESH, SECRET)), **change})


def _raw(issued: ChallengeIssued) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads(issued.model_dump_json())
    return raw


def _opened(raw: dict[str, Any]) -> str:
    rest = {name: value for name, value in raw.items() if name != "sealed_code"}
    closed = from_base64url(raw["sealed_code"])
    return AESGCM(SECRET).decrypt(closed[:12], closed[12:], canonical(rest)).decode()
