"""The keys of the examples: published ones, so that others can check the seals, MACs and signatures in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from countersign.contract.canonical import base64url, canonical, from_base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 8037, appendix A.1: a private key that everybody knows.
_SIGNING_SEED = from_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
_SIGNING_PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
MAC_KEY = bytes(range(32))
SEAL_KEY = bytes(range(32, 64))
NONCE = bytes(range(12))
KEY_ID = "example-1"


def jwks() -> dict[str, Any]:
    """Return the key that the example grants are signed with, as the verifier publishes its own."""
    key = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": KEY_ID, "x": _SIGNING_PUBLIC}
    return {"keys": [key]}


def claims_about(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the claims that grants and denials share."""
    return {
        "iss": "countersign",
        "aud": "countersign",
        "jti": str(decision["request_id"]),
        "sub": str(decision["user_id"]),
        "acct": str(decision["account_id"]),
        "act": decision["action"],
        "dig": decision["digest"],
    }


def jws(typ: str, claims: Mapping[str, Any]) -> str:
    """Return the claims signed with that key: RFC 7515, compact serialisation."""
    header = {"alg": "EdDSA", "kid": KEY_ID, "typ": typ}
    signed = f"{base64url(canonical(header))}.{base64url(canonical(claims))}"
    signature = Ed25519PrivateKey.from_private_bytes(_SIGNING_SEED).sign(signed.encode())
    return f"{signed}.{base64url(signature)}"
