"""Canonical JSON (RFC 8785) of objects of strings, integers, booleans, null, arrays and objects."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON: what is digested, sealed with, and signed.

    Ours have ASCII names and no floats; for those orjson's sorted form is RFC 8785's, at a fraction of the cost of the
    `rfc8785` package. A property test holds the two against each other.
    Raises ValueError for a float, a lone surrogate, or an integer of more than 64 bits.
    """
    _refuse_floats(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def _refuse_floats(value: Mapping[str, Any]) -> None:
    """Look at every part once. By exact types, since this runs with every event that is signed or sealed."""
    parts: list[object] = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if set(map(type, part)) - {str} or not "".join(part).isascii():
                raise ValueError("names in canonical JSON here are ASCII")
            parts += [each for each in part.values() if type(each) not in _PLAIN]
        elif isinstance(part, list | tuple):
            parts += [each for each in part if type(each) not in _PLAIN]
        elif isinstance(part, float):
            raise ValueError("canonical JSON here has strings and integers only")  # noqa: TRY004 - of a value, not ours


_PLAIN = frozenset({str, int, bool, type(None)})


def base64url(value: bytes) -> str:
    """Return base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Undo `base64url`. Raises ValueError, also for padding and for the letters of plain base64."""
    if not _BASE64URL.fullmatch(text):
        raise ValueError("expected base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def req_of(value: bytes) -> str:
    """Return the hash of a request record's value, byte for byte: base64url of its SHA-256 (a grant's `req`)."""
    return base64url(hashlib.sha256(value).digest())


def digest_of(what: Mapping[str, Any]) -> str:
    """Return the digest of what is to be authorised: base64url of the SHA-256 of its canonical JSON."""
    return base64url(hashlib.sha256(canonical(what)).digest())
