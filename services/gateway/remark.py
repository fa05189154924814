"""What a form led to, told on the next page and only once, so that every form is answered with a redirect.

Kept by the browser, sealed for it alone: it is told without a session, while PostgreSQL is away, and leaves no row.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import BaseModel, ConfigDict, ValidationError

from countersign.contract import base64url
from countersign.contract.canonical import from_base64url
from services.gateway.model import Site

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.browser_key import BrowserKey

REMARK_LIFE = timedelta(minutes=2)  # chosen: the next page comes at once, or after the service is back
_NONCE_BYTES = 12  # NIST SP 800-38D, 8.2.1
_CHARACTERS_MAX = 3_000  # browsers keep cookies of 4,096 bytes, name and attributes included (RFC 6265, 6.1)


class Remark(BaseModel):
    """A sentence for the next page: a problem with what was sent, or what was done. `email` goes back into the form."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    text: str
    problem: bool = False
    email: str = ""


@dataclass(frozen=True, slots=True)
class RemarkCookie:
    """The cookie that carries a remark from one answer to the next page of the same browser."""

    name: str
    secure: bool
    key: BrowserKey = field(repr=False)

    @classmethod
    def of(cls, site: Site, key: BrowserKey, *, secure: bool) -> RemarkCookie:
        """Return the cookie of a site. `__Host-` asks for Secure, so only https has it."""
        name = "remark" if site is Site.PAGES else "console-remark"
        return cls(f"__Host-{name}" if secure else name, secure, key)

    def read(self, request: web.Request, secret: str) -> Remark | None:
        """Return what was sealed for the browser that holds `secret`; None for anything else."""
        value = request.cookies.get(self.name, "")
        if not 0 < len(value) <= _CHARACTERS_MAX:
            return None
        try:
            raw = from_base64url(value)
            opened = AESGCM(self.key.remark_key(secret)).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None)
            return Remark.model_validate_json(opened)
        except (ValueError, InvalidTag, ValidationError):
            return None

    def write(self, response: web.StreamResponse, secret: str, remark: Remark) -> None:
        """Hand the browser a remark for its next page."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self.key.remark_key(secret)).encrypt(nonce, remark.model_dump_json().encode(), None)
        seconds = int(REMARK_LIFE.total_seconds())
        response.set_cookie(
            self.name,
            base64url(nonce + sealed),
            max_age=seconds,
            path="/",
            secure=self.secure,
            httponly=True,
            samesite="Lax",
        )

    def forget(self, response: web.StreamResponse) -> None:
        """Let the browser forget a remark that was shown."""
        response.del_cookie(self.name, path="/", secure=self.secure, httponly=True, samesite="Lax")
