"""What a browser is handed out, derived from what it sent with a key of the server's: a repetition gives the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from hmac import compare_digest, digest
from uuid import UUID

from countersign.contract import base64url
from countersign.contract.canonical import from_base64url

DEVICE_LIFE = timedelta(days=180)  # chosen: a browser that is used twice a year; each log-in begins it anew
DEVICES_MAX = 4  # chosen: people who share a browser; who logged in longest ago is dropped first
DEVICE_NONCE_BYTES = 16  # OWASP ASVS 5.0, 7.2.3: at least 128 bits of entropy
DEVICE_COOKIE_CHARACTERS_MAX = 400
_SECONDS_BYTES = 8
_MARK_CHARACTERS = 75  # base64url of nonce, seconds and a SHA-256


@dataclass(frozen=True, slots=True)
class BrowserKey:
    """Derives session secrets and signs device cookies, each purpose apart. Its repr does not show the key."""

    _key: bytes = field(repr=False)

    def pending_secret(self, before: str, form: str, *parts: str) -> str:
        """Return the secret of the pending session that a login form leads to.

        `before` is the browser's secret so far, `form` the form's hidden id; `parts` is all that the request says.
        """
        return base64url(self._derived("pending", before, form, *parts))

    def request_id(self, pending: str) -> UUID:
        """Return the id of the access request of a pending session."""
        return UUID(bytes=self._derived("request", pending)[:16], version=4)

    def signed_in_secret(self, pending: str) -> str:
        """Return the secret of the signed-in session that a pending one becomes."""
        return base64url(self._derived("signed_in", pending))

    def remark_key(self, secret: str) -> bytes:
        """Return the key that seals what the next page of the browser with this secret tells."""
        return self._derived("remark", secret)

    def device_of(self, cookie: str, email: str, now: datetime) -> bytes | None:
        """Return the nonce of the mark in a device cookie that was given for this address, None if there is none."""
        for mark in _marks(cookie):
            nonce, given_at = self._read(mark, email)
            if given_at is not None and now - given_at < DEVICE_LIFE:
                return nonce
        return None

    def device_cookie(self, cookie: str, email: str, nonce: bytes, now: datetime) -> str:
        """Return the cookie with a mark for this address from now on; other people's marks stay.

        A mark that the address has keeps its nonce, so that its used tries stay used; else `nonce` is the new one's.
        """
        kept = self.device_of(cookie, email, now) or nonce
        seconds = int(now.timestamp()).to_bytes(_SECONDS_BYTES, "big")
        mark = base64url(kept + seconds + self._signature(email, kept, seconds))
        others = [other for other in _marks(cookie) if self._read(other, email)[1] is None]
        return ".".join([mark, *others][:DEVICES_MAX])

    def _read(self, mark: str, email: str) -> tuple[bytes, datetime | None]:
        raw = _bytes_of(mark)
        nonce, rest = raw[:DEVICE_NONCE_BYTES], raw[DEVICE_NONCE_BYTES:]
        seconds, signature = rest[:_SECONDS_BYTES], rest[_SECONDS_BYTES:]
        if not compare_digest(signature, self._signature(email, nonce, seconds)):
            return nonce, None
        return nonce, datetime.fromtimestamp(int.from_bytes(seconds, "big"), UTC)

    def _signature(self, email: str, nonce: bytes, seconds: bytes) -> bytes:
        return self._derived("device", nonce.hex(), seconds.hex(), email)

    def _derived(self, *parts: str) -> bytes:
        return digest(self._key, "\x00".join(parts).encode(), sha256)


def form_id_of(hidden: str) -> bytes:
    """Return what is kept of a form's hidden id."""
    return sha256(hidden.encode()).digest()


def _marks(cookie: str) -> list[str]:
    if len(cookie) > DEVICE_COOKIE_CHARACTERS_MAX:
        return []
    return [mark for mark in cookie.split(".") if len(mark) == _MARK_CHARACTERS and _bytes_of(mark)][:DEVICES_MAX]


def _bytes_of(mark: str) -> bytes:
    try:
        return from_base64url(mark)
    except ValueError:
        return b""
