"""Codes: drawn, kept as a digest, sealed for the notifier, and read as people type them."""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import base64url, canonical
from countersign.typed import code_of
from services.verifier.model import FreshCode

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.contract import ChallengeIssued

DIGITS_MIN = 6  # NIST SP 800-63B-4, 3.1.3.2: at least six decimal digits
NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: 96 bits
TYPED_CHARACTERS_MAX = 64  # ours: a code with every separator that people use is far shorter
# A sealed code of the form that the contract asks for, until the real one takes its place.
UNSEALED = "A" * 40


def draw(digits: int) -> FreshCode:
    """Draw a code from the system's random source (NIST SP 800-63B-4, 3.1.3.2; OWASP ASVS 5.0, 6.5.3)."""
    return FreshCode(f"{secrets.randbelow(10**digits):0{digits}d}", secrets.token_bytes(NONCE_BYTES))


def digest_code(pepper: bytes, challenge_id: UUID, send: int, code: str) -> bytes:
    """Return what is kept of a code; worthless without the pepper, and fitting no other challenge or send."""
    return hmac.digest(pepper, b"|".join((challenge_id.bytes, b"%d" % send, code.encode())), sha256)


def sealed(issued: ChallengeIssued, fresh: FreshCode, secret: bytes) -> ChallengeIssued:
    """Return the event with the code closed so that it opens only with the rest of the event, unchanged.

    `secret` is 32 bytes; the nonce is never used twice with one key (NIST SP 800-38D).
    """
    rest = issued.model_dump(mode="json", exclude={"sealed_code"})
    closed = AESGCM(secret).encrypt(fresh.nonce, fresh.code.encode(), canonical(rest))
    return issued.model_copy(update={"sealed_code": base64url(fresh.nonce + closed)})


def normalise(typed: str, digits: int) -> str | None:
    """Return the code that somebody typed, None if it has not the form of one.

    White space, unseen characters and dashes are dropped, and decimal digits of every script are digits: phones copy,
    keyboards write and screen readers insert them. Superscripts, circled digits and letters are no digits.
    """
    if len(typed) > TYPED_CHARACTERS_MAX:
        return None
    plain = code_of(typed)
    return plain if len(plain) == digits and plain.isascii() and plain.isdigit() else None
