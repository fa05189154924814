"""Who asks: the browser's secret, its session if it has one, its address and its language."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from hmac import compare_digest, digest
from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import web
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.client.addresses import client_address
from countersign.contract import base64url
from countersign.places import unmapped
from services.gateway import store
from services.gateway.browser_key import DEVICE_LIFE, DEVICE_NONCE_BYTES
from services.gateway.decide import alive, needs_touch
from services.gateway.model import Session, Site, Stage
from services.gateway.remark import Remark

if TYPE_CHECKING:
    from countersign.runtime.database.postgres import Pool
    from services.gateway.settings import GatewaySettings
    from services.gateway.words import Words

_SECRET_BYTES = 32  # OWASP ASVS 5.0, 7.2.3: at least 128 bits of entropy
_SECRET = re.compile(r"^[A-Za-z0-9_-]{43}\Z")
_NONCE_BYTES = 12  # NIST SP 800-38D, 8.2: 96 bits, never used twice with one key
LOOKS_AGAIN = "X-Looks-Again"  # set by the script: a page that looks again by itself is nobody's activity
COMPUTER = "computer"  # the cookie of the local stack that names an address to act from


@dataclass(slots=True)
class Visitor:
    """The one who asks. Give it another `secret` and the browser gets that with the answer."""

    secret: str = field(repr=False)
    session: Session | None
    ip: str | None
    words: Words
    device: str = field(default="", repr=False)
    """What the device cookie holds. Give it another value and the browser gets that with the answer."""
    known: bool = False
    """The browser brought a secret of ours, so it keeps cookies."""
    remark: Remark | None = field(default=None, repr=False)
    """What the form before led to; for this page to tell."""
    remark_told: bool = False
    leaves: Remark | None = field(default=None, repr=False)
    """What the next page is to tell."""

    @property
    def session_id(self) -> bytes:
        """The SHA-256 under which the session is kept."""
        return session_id_of(self.secret)

    @property
    def seen_from(self) -> str | None:
        """The address as places are made of it: IPv4 written as IPv6 is IPv4."""
        address = unmapped(self.ip)
        return None if address is None else str(address)

    @property
    def signed_in(self) -> Session | None:
        """The session, if somebody is signed in."""
        return self.session if self.session is not None and self.session.stage is Stage.SIGNED_IN else None

    @property
    def pending(self) -> Session | None:
        """The session, if the password was right and the rest is to come."""
        return self.session if self.session is not None and self.session.stage is Stage.PENDING else None

    def leave(self, text: str, *, problem: bool = False, email: str = "") -> None:
        """Let the browser's next page tell what this form led to."""
        self.leaves = Remark(text=text, problem=problem, email=email)

    def csrf_token(self) -> str:
        """Return what our own forms carry; it follows from the secret, which no other page can read."""
        return base64url(self._derived("csrf"))

    def csrf_fits(self, token: str) -> bool:
        """Tell whether a form carries this visitor's token."""
        return compare_digest(token.encode(), self.csrf_token().encode())

    def id_of(self, *parts: str) -> UUID:
        """Return an id that is the same for the same form sent twice, and tells nobody else what was in it."""
        return UUID(bytes=self._derived(*parts)[:16], version=4)

    def seal(self, text: str) -> bytes:
        """Encrypt a text for this browser: the key follows from its secret, which no table holds."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._derived("seal")).encrypt(nonce, text.encode(), None)

    def unseal(self, sealed: bytes) -> str:
        """Return what `seal` encrypted for this very secret. Raises InvalidTag for anything else."""
        return AESGCM(self._derived("seal")).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()

    def _derived(self, *parts: str) -> bytes:
        return digest(self.secret.encode(), "\x00".join(parts).encode(), hashlib.sha256)


VISITOR: web.RequestKey[Visitor] = web.RequestKey("visitor", Visitor)


def session_id_of(secret: str) -> bytes:
    """Return what the table holds for what the browser holds."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret(text: str) -> bool:
    """Return True for text of the form of a secret, or of what is derived from one."""
    return _SECRET.match(text) is not None


def new_secret() -> str:
    """Draw what a browser will hold."""
    return base64url(secrets.token_bytes(_SECRET_BYTES))


def new_nonce() -> bytes:
    """Draw the nonce of a browser that nobody has logged in with before."""
    return secrets.token_bytes(DEVICE_NONCE_BYTES)


@dataclass(frozen=True, slots=True)
class Cookie:
    """The session's cookie. The sites' cookies differ in name, as browsers do not tell ports apart."""

    name: str
    secure: bool

    @classmethod
    def of(cls, site: Site, *, secure: bool) -> Cookie:
        """Return the session cookie of a site."""
        return cls(_cookie_name("session" if site is Site.PAGES else "console", secure=secure), secure)

    def read(self, request: web.Request) -> str | None:
        """Return the browser's secret if it has one of the right form."""
        value = request.cookies.get(self.name, "")
        return value if is_secret(value) else None

    def write(self, response: web.StreamResponse, secret: str) -> None:
        """Hand the browser its secret, until it is closed."""
        response.set_cookie(self.name, secret, path="/", secure=self.secure, httponly=True, samesite="Lax")


@dataclass(frozen=True, slots=True)
class DeviceCookie:
    """The cookie of a browser that has logged in before. It survives the log-out and opens nothing."""

    name: str
    secure: bool

    @classmethod
    def of(cls, site: Site, *, secure: bool) -> DeviceCookie:
        """Return the device cookie of a site."""
        return cls(_cookie_name("device" if site is Site.PAGES else "console-device", secure=secure), secure)

    def read(self, request: web.Request) -> str:
        """Return what the browser holds, genuine or not."""
        return request.cookies.get(self.name, "")

    def write(self, response: web.StreamResponse, value: str) -> None:
        """Hand the browser its marks. Only forms of our own pages need them, so nothing from elsewhere sends them."""
        seconds = int(DEVICE_LIFE.total_seconds())
        response.set_cookie(
            self.name, value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite="Strict"
        )


def _cookie_name(name: str, *, secure: bool) -> str:
    """Return the name; `__Host-` asks for Secure, so only https has it."""
    return f"__Host-{name}" if secure else name


async def session_for(pool: Pool, site: Site, secret: str, *, looks_again: bool) -> Session | None:
    """Return the session that the secret opens at this site, if it still counts."""
    found = await store.session_of(pool, session_id_of(secret))
    if found is None or found.site is not site or not alive(found):
        return None
    if found.stage is Stage.SIGNED_IN and not found.held:
        await store.hold(pool, session_id_of(secret))
    if needs_touch(found) and not looks_again:
        await store.touch(pool, session_id_of(secret))
    return found


def address_of(request: web.Request, settings: GatewaySettings) -> str | None:
    """Return the address that can be vouched for.

    On the local stack the one that its cookie names comes first, and a browser on this very machine, which comes
    through no proxy, has the address of its connection.
    """
    if settings.local is not None:
        played = unmapped(request.cookies.get(COMPUTER))
        if played is not None:
            return str(played)
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    forwarded = request.headers.getall("X-Forwarded-For", [])
    trusted = () if settings.local is not None and not forwarded else settings.trusted_proxies
    return client_address(peer[0] if peer else None, forwarded, trusted)
