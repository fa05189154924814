"""Numbers: what is understood, what is refused in which words, and that none leaks by accident."""

from __future__ import annotations

import secrets
from uuid import uuid4

import pytest

from countersign.contract.number import (
    NONCE_BYTES,
    NumberRefusedError,
    PhoneNumber,
    SealBrokenError,
    fingerprint_of,
    open_number,
    parse_number,
    seal_number,
)

KEY = secrets.token_bytes(32)


@pytest.mark.parametrize(
    ("entered", "region", "e164", "country"),
    [
        ("+61491570006", None, "+61491570006", "AU"),
        ("  +61 491 570 006 ", None, "+61491570006", "AU"),
        ("0491-570-006", "AU", "+61491570006", "AU"),
        ("(0491) 570 006", "AU", "+61491570006", "AU"),
        ("0011 61 491 570 006", "AU", "+61491570006", "AU"),
        ("+６１４９１５７０００６", None, "+61491570006", "AU"),  # noqa: RUF001 - full-width digits are what is tried
        ("+46 70-174 06 05", "AU", "+46701740605", "SE"),
        ("+1 212 555 2368", None, "+12125552368", "US"),
    ],
)
def test_a_mobile_number_is_understood(entered: str, region: str | None, e164: str, country: str) -> None:
    """M11: as people write them, with and without the country code."""
    assert parse_number(entered, region) == PhoneNumber(e164, country)


@pytest.mark.parametrize(
    ("entered", "region", "reason"),
    [
        ("", None, "empty"),
        ("   ", "AU", "empty"),
        ("hello", "AU", "unreadable"),
        ("+61 491 570 0O6", None, "unreadable"),
        ("+61491570006 ext. 3", None, "unreadable"),
        ("+61491570006;ext=3", None, "unreadable"),
        ("+61491570006#3", None, "unreadable"),
        ("0491 570 006", None, "country_missing"),
        ("+999 491 570 006", None, "country_unknown"),
        ("+61 491 57", None, "too_short"),
        ("+61 491 570 006 77", None, "too_long"),
        ("+" + "6" * 60, None, "too_long"),
        ("+44 7700 900123", None, "unassigned"),
        ("112", "SE", "too_short"),
        ("+61 2 9374 4000", None, "landline"),
        ("+61 1900 654 321", None, "premium"),
        ("+44 800 123 4567", None, "toll_free"),
        ("+800 1234 5678", None, "toll_free"),
    ],
)
def test_anything_else_is_refused_in_words(entered: str, region: str | None, reason: str) -> None:
    """M11: typo, landline, premium, toll-free; the words quote nothing of what was entered."""
    with pytest.raises(NumberRefusedError) as refused:
        parse_number(entered, region)
    assert refused.value.reason == reason
    assert refused.value.words.endswith(".")
    assert not any(len(part) > 2 and part in refused.value.words for part in entered.split())


def test_a_number_shows_its_last_two_digits_only() -> None:
    """In a log, a traceback or a page there is the country code and two digits."""
    number = parse_number("+61491570006")
    for shown in (str(number), repr(number), f"{number}", number.hint):
        assert "4915" not in shown
        assert "570" not in shown
    assert number.hint == "+61 ••••••••06"


def test_a_sealed_number_opens_for_its_user_and_key_only() -> None:
    """Moved to another user's row, changed, cut or under another key it does not open."""
    number, user_id = parse_number("+46701740605"), uuid4()
    sealed = seal_number(KEY, secrets.token_bytes(NONCE_BYTES), number, user_id)
    assert b"701740605" not in sealed
    assert open_number(KEY, sealed, user_id, number.country) == number
    changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for key, form, user in (
        (KEY, sealed, uuid4()),
        (KEY, changed, user_id),
        (KEY, sealed[:20], user_id),
        (KEY, b"", user_id),
        (secrets.token_bytes(32), sealed, user_id),
    ):
        with pytest.raises(SealBrokenError):
            open_number(key, form, user, number.country)


def test_the_fingerprint_is_the_same_for_every_way_of_writing() -> None:
    """Equal numbers, equal fingerprints; another key, another fingerprint."""
    first, second = parse_number("+61491570006"), parse_number("0491 570 006", "AU")
    assert fingerprint_of(KEY, first) == fingerprint_of(KEY, second)
    assert fingerprint_of(KEY, first) != fingerprint_of(secrets.token_bytes(32), first)
    assert fingerprint_of(KEY, first) != fingerprint_of(KEY, parse_number("+61491570156"))
