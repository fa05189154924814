"""The alphabet of SMS. One letter outside of it, and a part holds 70 characters instead of 160."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import gsm0338  # noqa: F401 - registers the codec `gsm03.38`
from anyascii import anyascii

PART_SEPTETS_MAX = 160  # 3GPP TS 23.038 and 23.040, 9.2.3.24.1: 140 octets of 7-bit characters in a single part
_CODEC = "gsm03.38"


def septets(text: str) -> int:
    """Return what a text counts: a character of the extension table, such as a bracket or the euro, counts two.

    Raises UnicodeEncodeError for a text that was not transliterated.
    """
    return sum(map(_counts, text))


@lru_cache(maxsize=4096)
def _counts(character: str) -> int:
    return len(character.encode(_CODEC))


def transliterate(text: str) -> str:
    """Return one line in the alphabet that reads as near as can be: umlauts stay, other scripts become Latin."""
    return " ".join("".join(_spelled(character) for character in unicodedata.normalize("NFC", text)).split())


@lru_cache(maxsize=4096)
def _spelled(character: str) -> str:
    if _has(character):
        return character
    # The backtick is the one printable ASCII character that the alphabet lacks.
    return "".join(letter for letter in anyascii(character).replace("`", "'") if _has(letter))


def _has(character: str) -> bool:
    try:
        character.encode(_CODEC)
    except UnicodeEncodeError:
        return False
    return True


def cut(text: str, septets_max: int) -> str:
    """Return the longest beginning that counts at most `septets_max`."""
    while septets(text) > septets_max:
        text = text[:-1]
    return text
