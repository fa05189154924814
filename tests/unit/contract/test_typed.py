"""One cleaner for what people type into a line, by what Unicode says of each character."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.contract.number import NumberRefusedError, parse_number
from countersign.typed import code_of, email_of, password_of, plain_digits, visible

EVERY = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point <= 0xDFFF]
UNSEEN = [character for character in EVERY if unicodedata.category(character) == "Cf"]


def test_every_format_character_and_control_is_dropped() -> None:
    """All of Cf and Cc, not those that somebody thought of; a control that is white space is a space."""
    assert len(UNSEEN) > 100
    assert visible(f"a{''.join(UNSEEN)}b") == "ab"
    controls = [character for character in EVERY if unicodedata.category(character) == "Cc"]
    assert set(visible(f"a{''.join(controls)}b")) == set("a b")
    assert visible("a\u3164\ufe0f\u034f\U000e0100b") == "ab"


def test_every_white_space_is_a_space() -> None:
    """Line ends and U+2028 too; those at the ends are dropped."""
    spaces = [character for character in EVERY if character.isspace()]
    assert len(spaces) >= 25
    for space in spaces:
        assert visible(f"{space}a{space}b{space}") == "a b", hex(ord(space))


def test_every_decimal_digit_and_dash() -> None:
    """All of Nd with its value, all of Pd; a superscript and a circled digit are neither."""
    plain = plain_digits("".join(EVERY))
    assert len(plain) == len(EVERY)
    changed = {character: become for character, become in zip(EVERY, plain, strict=True) if character != become}
    digits = {c: str(unicodedata.decimal(c)) for c in EVERY if unicodedata.category(c) == "Nd" and not c.isascii()}
    dashes = {c: "-" for c in EVERY if unicodedata.category(c) == "Pd" and c != "-"}
    assert changed == {**digits, **dashes, "\u2212": "-"}
    assert code_of("\u200f\u0661\u0662\u0663 \u2013 \u0664\u0665\u0666\u200f") == "123456"
    assert code_of("12345\u00b2") == "12345\u00b2"


@pytest.mark.parametrize(
    "spelt",
    [
        "ren\u00e9@example.com",
        "rene\u0301@example.com",
        " Ren\u00c9@Example.COM\u200b",
        "\u200erene\u0301@example\u00ad.com\u200e",
        "ren\u00e9@ex\nample.com",
        "\uff52\uff45\uff4e\u00e9@example.com",
    ],
)
def test_spellings_of_an_email_address(spelt: str) -> None:
    """Case, normal form, white space and unseen characters make no other person."""
    assert email_of(spelt) == "ren\u00e9@example.com"


@given(st.text(max_size=50))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """What is kept is found again."""
    for clean in (visible, code_of, email_of, password_of):
        assert clean(clean(text)) == clean(text)


def test_a_password_keeps_all_but_its_normal_form() -> None:
    """Spaces and case count; a letter and its accent are one character or two, as the keyboard likes."""
    assert password_of(" Caf\u00e9\u200b ") == password_of(" Cafe\u0301\u200b ") != password_of("Caf\u00e9")


@pytest.mark.parametrize(
    "entered",
    [
        "\u202a+61 491 570 006\u202c",  # as address books copy it
        "+61\u2011491\u2011570\u2011006",  # hyphens that do not break
        "+\u0666\u0661 \u0664\u0669\u0661 \u0665\u0667\u0660 \u0660\u0660\u0666",
        "\ufeff+61\u00a0491\u2009570\u2009006\n",
        "+6\u200b1491\u2060570006",
    ],
)
def test_numbers_as_they_are_pasted(entered: str) -> None:
    """The same cleaner reads numbers."""
    assert parse_number(entered).e164 == "+61491570006"


def test_a_number_is_bounded_before_it_is_cleaned() -> None:
    """Nobody sends a megabyte of direction marks."""
    with pytest.raises(NumberRefusedError, match="too_long"):
        parse_number("+61491570006" + "\u200e" * 189)
    assert parse_number("+61491570006" + "\u200e" * 188).e164 == "+61491570006"
