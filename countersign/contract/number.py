"""Phone numbers: read in E.164, shown masked, kept sealed, compared by a keyed fingerprint.

Numbers are on no topic and in no log; the two services that hold the ring `number_keys` share this form.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import phonenumbers
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from phonenumbers import NumberParseException, PhoneNumberType

from countersign.typed import plain_digits, visible

if TYPE_CHECKING:
    from uuid import UUID

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: 96 bits, never used twice with one key
_ENTERED_CHARACTERS_MAX = 40  # E.164: 15 digits and a plus; people add spaces, hyphens and brackets
_PASTED_CHARACTERS_MAX = 200  # chosen: as much again of white space and direction marks, as address books copy them
_HIDDEN = "•" * 8  # always eight, so that the mask does not tell how long the number is

Refusal = Literal["empty", "unreadable", "country_missing", "too_short", "too_long", "unassigned", "not_mobile"]

_WORDS: dict[Refusal, str] = {
    "empty": "Enter a mobile number.",
    "unreadable": "This does not look like a phone number: digits, spaces, hyphens and a leading + are understood.",
    "country_missing": "Start with + and the country code, for example +44.",
    "too_short": "This number has too few digits.",
    "too_long": "This number has too many digits.",
    "unassigned": "No such number can exist in that country. Look for a typing error.",
    "not_mobile": "This is not a mobile number: a code by text would not arrive.",
}
_PARSED: dict[int, Refusal] = {
    NumberParseException.INVALID_COUNTRY_CODE: "country_missing",
    NumberParseException.NOT_A_NUMBER: "unreadable",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too_short",
    NumberParseException.TOO_SHORT_NSN: "too_short",
    NumberParseException.TOO_LONG: "too_long",
}
_POSSIBLE: dict[int, Refusal] = {
    phonenumbers.ValidationResult.TOO_SHORT: "too_short",
    phonenumbers.ValidationResult.TOO_LONG: "too_long",
}
# The plan of some countries (North America's) does not tell mobile from fixed, so those are taken as well.
_TAKES_TEXTS = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})


class NumberRefused(ValueError):  # noqa: N818 - an answer to a person, not a failure
    """Not a number that a code can be sent to. `words` are for the person who entered it and quote nothing."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = _WORDS[reason]


class SealBroken(ValueError):  # noqa: N818 - a finding about what was stored
    """The sealed number belongs to another user, another key, or was changed."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """E.164. Its repr and str are safe to log; `e164` is not. `country` is ISO 3166-1, or 001 where there is none."""

    e164: str = field(repr=False)
    country: str

    def __str__(self) -> str:
        return self.hint

    @property
    def hint(self) -> str:
        """Return what a page may show: the country code and the last two digits (OWASP ASVS 5.0, 14.2.6)."""
        code = phonenumbers.parse(self.e164).country_code
        return f"+{code} {_HIDDEN}{self.e164[-2:]}"


def parse_number(entered: str, region: str | None = None) -> PhoneNumber:
    """Read a number as people enter it. `region` (ISO 3166-1) is the country of one without its code.

    Raises NumberRefused.
    """
    if len(entered) > _PASTED_CHARACTERS_MAX:
        raise NumberRefused("too_long")
    text = plain_digits(visible(entered))
    if not text:
        raise NumberRefused("empty")
    if len(text) > _ENTERED_CHARACTERS_MAX:
        raise NumberRefused("too_long")
    if any(character.isalpha() for character in text):  # no vanity letters, no extensions: a text reaches neither
        raise NumberRefused("unreadable")
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException as error:
        raise NumberRefused(_PARSED.get(error.error_type, "unreadable")) from None
    if number.extension:
        raise NumberRefused("unreadable")
    if not phonenumbers.is_valid_number(number):
        length = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
        raise NumberRefused(_POSSIBLE.get(length, "unassigned"))
    if phonenumbers.number_type(number) not in _TAKES_TEXTS:
        raise NumberRefused("not_mobile")
    return PhoneNumber(_e164(number), phonenumbers.region_code_for_number(number) or "001")


def _e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def fingerprint_of(key: bytes, number: PhoneNumber) -> bytes:
    """Return what numbers are compared and counted by; without the key it cannot be searched through."""
    return hmac.digest(key, number.e164.encode(), sha256)


def seal_number(secret: bytes, nonce: bytes, number: PhoneNumber, user_id: UUID) -> bytes:
    """Return the nonce and the number under AES-256-GCM, bound to its user: it opens as nobody else's.

    `nonce` is `NONCE_BYTES` random bytes, drawn for this call.
    """
    return nonce + AESGCM(secret).encrypt(nonce, number.e164.encode(), user_id.bytes)


def open_number(secret: bytes, sealed: bytes, user_id: UUID, country: str) -> PhoneNumber:
    """Undo `seal_number`; the country is kept beside what was sealed. Raises SealBroken."""
    nonce, closed = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        e164 = AESGCM(secret).decrypt(nonce, closed, user_id.bytes).decode()
    except (InvalidTag, ValueError):  # ValueError: shorter than a nonce and a tag
        raise SealBroken("the sealed number does not open") from None
    return PhoneNumber(e164, country)
