"""A key that signs grants like the verifier's, and one that forges them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.contract import base64url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

LIFE_SECONDS = 300
REQ = "R" * 43  # names the bytes of a request that no test published
DENIAL_TYP = "countersign-denial+jwt"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs anything: also what no verifier would."""

    key_id: str = "grant-1"
    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)

    def jwk(self, **dates: str) -> dict[str, Any]:
        """Return the public key as the verifier publishes it."""
        x = base64url(self.private.public_key().public_bytes_raw())
        return {"kty": "OKP", "crv": "Ed25519", "kid": self.key_id, "alg": "EdDSA", "use": "sig", "x": x, **dates}

    def sign(self, claims: Mapping[str, Any], **header: object) -> str:
        """Return a compact JWS; `header` overrides alg, typ and kid, or takes one away with None."""
        named = {"alg": "EdDSA", "typ": "countersign-grant+jwt", "kid": self.key_id, **header}
        head = base64url(json.dumps({name: value for name, value in named.items() if value is not None}).encode())
        signed = f"{head}.{base64url(json.dumps(claims).encode())}"
        return f"{signed}.{base64url(self.private.sign(signed.encode()))}"


def claims_of(
    *,
    request_id: UUID,
    user_id: UUID,
    account_id: UUID,
    action: str,
    digest: str,
    now: datetime,
    req: str | None = REQ,
    **over: object,
) -> dict[str, Any]:
    """Return a grant's claims, in force from `now` for five minutes."""
    issued = int(now.timestamp())
    return {
        "iss": "countersign",
        "aud": "countersign",
        "jti": str(request_id),
        "sub": str(user_id),
        "acct": str(account_id),
        "act": action,
        "dig": digest,
        "req": req,
        "amr": ["sms"],
        "iat": issued,
        "exp": issued + LIFE_SECONDS,
        **over,
    }


def denial_claims_of(*, now: datetime, reason: str, retry_at: datetime | None = None, **ids: Any) -> dict[str, Any]:
    """Return the claims of a denial's proof; `ids` are those of the request, as `claims_of` takes them."""
    claims = claims_of(**ids, now=now)
    del claims["amr"], claims["exp"]
    return claims | {"reason": reason, "retry_at": None if retry_at is None else retry_at.isoformat()}


class KeySite:
    """Serves a JWK set on a free port and counts how often it was asked."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.status = 200
        self.answering = asyncio.Event()  # while it is clear, requests are taken and not answered
        self.answering.set()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/.well-known/jwks.json"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, _request: web.Request) -> web.Response:
        self.asked += 1
        await self.answering.wait()
        return web.json_response({"keys": self.keys}, status=self.status)
