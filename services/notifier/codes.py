"""Opening the sealed code of a challenge. The verifier seals; both hold the ring `code_keys`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract.canonical import canonical, from_base64url
from services.notifier.model import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

NONCE_BYTES = 12  # NIST SP 800-38D, 8.2
_FORM = re.compile(r"[0-9]{6,8}", re.ASCII)  # NIST SP 800-63B-4, 3.1.3.2: at least six digits


class SealBrokenError(ValueError):
    """The event is not the one that the code was sealed with, or the key is another."""


def open_code(secret: bytes, event: Mapping[str, Any]) -> Code:
    """Return the code of `event`, the raw JSON object: all its other fields must be as they were sealed.

    Raises SealBrokenError.
    """
    try:
        sealed = from_base64url(str(event["sealed_code"]))
        rest = canonical({name: value for name, value in event.items() if name != "sealed_code"})
        digits = AESGCM(secret).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], rest).decode()
    except (InvalidTag, ValueError):  # ValueError: not base64url, too short, or nothing that is ever sealed
        raise SealBrokenError("the sealed code does not open") from None
    if not _FORM.fullmatch(digits):
        raise SealBrokenError("what was sealed is no code")
    return Code(digits)
