"""Grants: signed here and nowhere else, and the public keys they are checked with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry, serialize_compact

from countersign.runtime.keys import RETIRED_KEPT

if TYPE_CHECKING:
    from joserfc._rfc7515.model import JWSAlgModel  # its public modules do not export the name

    from countersign.runtime.keys import Key, KeyRing
    from services.verifier.model import Asked, Denied

ALGORITHM = "EdDSA"
TYP = "countersign-grant+jwt"
DENIAL_TYP = "countersign-denial+jwt"


@dataclass(frozen=True, slots=True)
class Signed:
    """A grant in compact form, and the end of its life."""

    jws: str = field(repr=False)
    expires_at: datetime


class _OnlyEdDsa(JWSRegistry):
    """Signs with one algorithm.

    joserfc warns that `EdDSA` is deprecated in favour of `Ed25519` (RFC 9864); other libraries cannot read that name
    yet, so ours stays, and this way round the warning is not raised with every grant.
    """

    def get_alg(self, name: str) -> JWSAlgModel:
        assert name == ALGORITHM
        return self.algorithms[ALGORITHM]


_REGISTRY = _OnlyEdDsa()


class Signer:
    """Signs grants with the current key of the ring `grant_keys`: 32-byte seeds of Ed25519 keys."""

    def __init__(self, ring: KeyRing, *, issuer: str, audience: str, lifetime: timedelta) -> None:
        self._ring = ring
        self._issuer = issuer
        self._audience = audience
        self._lifetime = lifetime
        self._private: dict[Key, OKPKey] = {}

    def refresh(self) -> None:
        """Take in keys that were installed since."""
        self._ring.refresh()

    def check(self, now: datetime) -> None:
        """Raise KeyUnknownError if no key signs now."""
        self._ring.current(now)

    def sign(self, asked: Asked, method: Literal["none", "sms"], now: datetime) -> Signed:
        """Return the grant of a decision made `now`, by the database's clock."""
        key = self._ring.current(now)
        issued = int(now.timestamp())
        expires = issued + int(self._lifetime.total_seconds())
        claims = {
            **self._about(asked),
            "req": asked.req,
            "amr": ["sms"] if method == "sms" else [],
            "iat": issued,
            "exp": expires,
        }
        return Signed(self._jws(claims, TYP, key), datetime.fromtimestamp(expires, UTC))

    def sign_denial(self, denied: Denied, now: datetime) -> str:
        """Return the proof of a denial made `now`: whoever holds something back ends it on this alone."""
        claims = {
            **self._about(denied.asked),
            "reason": denied.reason,
            "retry_at": None if denied.retry_at is None else _written(denied.retry_at),
            "iat": int(now.timestamp()),
        }
        return self._jws(claims, DENIAL_TYP, self._ring.current(now))

    def _about(self, asked: Asked) -> dict[str, Any]:
        return {
            "iss": self._issuer,
            "aud": self._audience,
            "jti": str(asked.request_id),
            "sub": str(asked.user_id),
            "acct": str(asked.account_id),
            "act": asked.action,
            "dig": asked.digest,
        }

    def _jws(self, claims: dict[str, Any], typ: str, key: Key) -> str:
        header = {"alg": ALGORITHM, "typ": typ, "kid": key.key_id}
        payload = json.dumps(claims, separators=(",", ":"))
        return serialize_compact(header, payload, self._private_of(key), registry=_REGISTRY)

    def jwks(self, now: datetime) -> dict[str, Any]:
        """Return the JWK set (RFC 7517): every key installed, with its dates, until 40 days after it was retired.

        A new key is installed at least 10 minutes before its `active_from`, so readers have it before it signs.
        """
        published = [key for key in self._ring.all() if key.retired_at is None or now < key.retired_at + RETIRED_KEPT]
        return {"keys": [self._public_of(key) for key in published]}

    def _public_of(self, key: Key) -> dict[str, Any]:
        public = self._private_of(key).as_dict(private=False)
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": public["x"],
            "kid": key.key_id,
            "alg": ALGORITHM,
            "use": "sig",
            "active_from": _written(key.active_from),
            "retired_at": _written(key.retired_at) if key.retired_at else None,
        }

    def _private_of(self, key: Key) -> OKPKey:
        known = self._private.get(key)
        if known is None:
            private = Ed25519PrivateKey.from_private_bytes(key.secret)
            pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            known = self._private[key] = OKPKey.import_key(pem)
        return known


def _written(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
