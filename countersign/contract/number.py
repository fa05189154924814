"""Phone numbers: read in E.164, shown masked, kept sealed, compared by a keyed fingerprint.

Numbers are on no topic and in no log; the two services that hold the ring `number_keys` share this form.
"""

from __future__ import annotations

import hmac
import re
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import phonenumbers
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from phonenumbers import NumberParseException, PhoneNumberType

from countersign.typed import plain_digits, visible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: 96 bits, never used twice with one key
_ENTERED_CHARACTERS_MAX = 40  # E.164: 15 digits and a plus; people add spaces, hyphens and brackets
_PASTED_CHARACTERS_MAX = 200  # chosen: as much again of white space and direction marks, as address books copy them
_HIDDEN = "•" * 8  # always eight, so that the mask does not tell how long the number is

Refusal = Literal[
    "empty",
    "unreadable",
    "country_missing",
    "country_unknown",
    "too_short",
    "too_long",
    "unassigned",
    "landline",
    "premium",
    "toll_free",
    "shared_cost",
    "voip",
    "personal",
    "not_mobile",
]

_WORDS: dict[Refusal, str] = {
    "empty": "Enter a mobile number.",
    "unreadable": "This does not look like a phone number: digits, spaces, hyphens and a leading + are understood.",
    "country_missing": "Start with + and the country code, for example +44.",
    "country_unknown": "No country has this code. Start with + and the country code, for example +44.",
    "too_short": "This number has too few digits.",
    "too_long": "This number has too many digits.",
    "unassigned": "No such number can exist in that country. Look for a typing error.",
    "landline": "This is a landline number: a code by text would not arrive. Enter a mobile number.",
    "premium": "This is a premium rate number. Enter a mobile number.",
    "toll_free": "This is a free number that only takes calls. Enter a mobile number.",
    "shared_cost": "This is a service number that only takes calls. Enter a mobile number.",
    "voip": "This is an internet phone number: a code by text may not arrive. Enter a mobile number.",
    "personal": "This is a number that forwards calls: a code by text would not arrive. Enter a mobile number.",
    "not_mobile": "This is not a mobile number: a code by text would not arrive.",
}
_PARSED: dict[int, Refusal] = {
    NumberParseException.NOT_A_NUMBER: "unreadable",
    NumberParseException.TOO_SHORT_AFTER_IDD: "too_short",
    NumberParseException.TOO_SHORT_NSN: "too_short",
    NumberParseException.TOO_LONG: "too_long",
}
_POSSIBLE: dict[int, Refusal] = {
    phonenumbers.ValidationResult.TOO_SHORT: "too_short",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "too_short",  # the area code is missing
    phonenumbers.ValidationResult.TOO_LONG: "too_long",
}
_TAKES_NO_TEXTS: dict[int, Refusal] = {
    PhoneNumberType.FIXED_LINE: "landline",
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.TOLL_FREE: "toll_free",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.VOIP: "voip",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
}
# The plan of some countries (North America's) does not tell mobile from fixed, so those are taken as well.
_TAKES_TEXTS = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})

# Most countries dial 00 before a country code (ITU-T E.164, annex A), and people write it wherever they are.
_INTERNATIONAL = re.compile(r"^[+(\s]*00[)\s-]*\+?")
# What stood between country code and number before the plan was changed: Mexico until August 2019, and in many an
# address book since.
_FORMER_MOBILE_TOKENS = {52: "1"}


class NumberRefusedError(ValueError):
    """Not a number that a code can be sent to. `words` are for the person who entered it and quote nothing."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = _WORDS[reason]


class SealBrokenError(ValueError):
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

    Raises NumberRefusedError.
    """
    if len(entered) > _PASTED_CHARACTERS_MAX:
        raise NumberRefusedError("too_long")
    text = plain_digits(visible(entered))
    if not text:
        raise NumberRefusedError("empty")
    if len(text) > _ENTERED_CHARACTERS_MAX:
        raise NumberRefusedError("too_long")
    if any(character.isalpha() for character in text):  # no vanity letters, no extensions: a text reaches neither
        raise NumberRefusedError("unreadable")
    number = _understood(text, region)
    return PhoneNumber(_e164(number), phonenumbers.region_code_for_number(number) or "001")


def _understood(text: str, region: str | None) -> phonenumbers.PhoneNumber:
    """Return the first reading that a text can be sent to; else the last one says why there is none."""
    refused: Refusal = "unreadable"
    for reading in dict.fromkeys((text, _INTERNATIONAL.sub("+", text))):
        try:
            number = phonenumbers.parse(reading, region)
        except NumberParseException as error:
            refused = _unparsed(error, reading)
            continue
        if number.extension:
            raise NumberRefusedError("unreadable")
        for candidate in (number, *_without_what_people_add(number)):
            if _refusal(candidate) is None:
                return candidate
        refused = _refusal(number) or "unreadable"
    raise NumberRefusedError(refused)


def _unparsed(error: NumberParseException, reading: str) -> Refusal:
    if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
        return "country_unknown" if reading.lstrip("( ").startswith(("+", "\uff0b")) else "country_missing"
    return _PARSED.get(error.error_type, "unreadable")


def _without_what_people_add(number: phonenumbers.PhoneNumber) -> Iterator[phonenumbers.PhoneNumber]:
    """Yield the number without a trunk prefix or a mobile token that has no place in it; none if it is valid as it is.

    "+39 0347 …" has the 0 of a landline; "+54 9 11 15 …" has both the 9 of calls from abroad and the 15 of local ones.
    """
    if phonenumbers.is_valid_number(number):
        return
    if number.italian_leading_zero:
        yield phonenumbers.PhoneNumber(country_code=number.country_code, national_number=number.national_number)
    code, digits = number.country_code or 0, phonenumbers.national_significant_number(number)
    for token in (phonenumbers.country_mobile_token(code), _FORMER_MOBILE_TOKENS.get(code, "")):
        if token and digits.startswith(token):
            with suppress(NumberParseException):
                yield phonenumbers.parse(f"+{code}{digits.removeprefix(token)}")


def _refusal(number: phonenumbers.PhoneNumber) -> Refusal | None:
    if not phonenumbers.is_valid_number(number):
        length = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
        return _POSSIBLE.get(length, "unassigned")
    kind = phonenumbers.number_type(number)
    return None if kind in _TAKES_TEXTS else _TAKES_NO_TEXTS.get(kind, "not_mobile")


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
    """Undo `seal_number`; the country is kept beside what was sealed. Raises SealBrokenError."""
    nonce, closed = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        e164 = AESGCM(secret).decrypt(nonce, closed, user_id.bytes).decode()
    except (InvalidTag, ValueError):  # ValueError: shorter than a nonce and a tag
        raise SealBrokenError("the sealed number does not open") from None
    return PhoneNumber(e164, country)
