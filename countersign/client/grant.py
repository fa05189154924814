"""Judging a grant, pure: the published keys, what is expected and the time are arguments."""

from __future__ import annotations

import binascii
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry, deserialize_compact
from pydantic import BaseModel, ConfigDict, ValidationError

from countersign.contract import GRANT_LIFE_MAX, Action, base64url, from_base64url
from countersign.runtime.errors import KeyUnknownError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc._rfc7515.model import JWSAlgModel  # its public modules do not export the name
    from joserfc.jwk import OKPKey

ALGORITHM = "EdDSA"
TYP = "countersign-grant+jwt"
LEEWAY = timedelta(seconds=30)  # chosen: the clocks of two databases differ by less
GRANT_CHARACTERS_MAX = 4096  # the contract's limit of the field


class GrantRefusedError(Exception):
    """The grant does not authorise this. `what` names the part that does not match; nothing of the grant is quoted."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the grant must say, from the caller's own records. `request_id` is its `jti`, `digest` its `dig`.

    `req` is `BuiltRequest.req`, kept when the request was published: it proves that the very bytes that you published
    were judged, and not a copy with another address or another summary. Only who never published the request, and acts
    on nothing that it asks for, may give None: then it is not compared.
    """

    action: Action
    request_id: UUID
    user_id: UUID
    account_id: UUID
    digest: str
    req: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A grant whose signature is right. Spend `request_id` in a table of your own before you act."""

    request_id: UUID
    user_id: UUID
    account_id: UUID
    action: Action
    digest: str
    req: str | None
    """The hash of the request that was judged; None in a grant of a verifier from before this claim."""
    method: Literal["none", "sms"]
    issued_at: datetime
    expires_at: datetime
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """A key of the verifier's JWKS. It signed from `active_from` until `retired_at`."""

    key_id: str
    public: OKPKey = field(repr=False)
    active_from: datetime | None = None
    retired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Realm:
    """Whose grants count, and for whom they must be made."""

    issuer: str = "countersign"
    audience: str = "countersign"


def judge_grant(grant: str, expected: Expected, now: datetime, keys: Mapping[str, PublishedKey], realm: Realm) -> Grant:
    """Return the grant if it authorises exactly `expected` at `now`; leeway 30 s either way.

    Raises GrantRefusedError, and KeyUnknownError for a key id that is not among `keys`.
    """
    found = read_grant(grant, keys, realm)
    _match(found, expected)
    # Last, so that `exp` is only ever said of a grant that did authorise this.
    if now < found.issued_at - LEEWAY:
        raise GrantRefusedError("iat", "not yet in force")
    if now >= found.expires_at + LEEWAY:
        raise GrantRefusedError("exp", "its time is over")
    return found


def judge_taught(
    grant: str, expected: Expected | None, ce_time: datetime, keys: Mapping[str, PublishedKey], realm: Realm
) -> Grant:
    """Return the grant if it was in force when its event was made, however long ago that is: for learning only.

    `ce_time` is the event's; `expected` None checks signature, issuer and audience alone.
    """
    found = read_grant(grant, keys, realm)
    # `iat` and `exp` are whole seconds, ce_time is not.
    if not found.issued_at <= ce_time.replace(microsecond=0) <= found.expires_at:
        raise GrantRefusedError("iat", "the event was not made within the grant's time")
    if expected is not None:
        _match(found, expected)
    return found


def key_id_of(grant: str, typ: str = TYP) -> str:
    """Return the key id that a grant, or a JWS of another `typ`, names. Raises GrantRefusedError for any other form."""
    parts = grant.split(".") if len(grant) <= GRANT_CHARACTERS_MAX else []
    try:
        decoded = [from_base64url(part) for part in parts]
        header = json.loads(decoded[0]) if len(parts) == 3 else None  # noqa: PLR2004 - RFC 7515, section 7.1
    except (binascii.Error, ValueError, RecursionError):
        raise GrantRefusedError("form", "expected a compact JWS") from None
    # One grant has one spelling: decoders ignore the last bits of a segment, and a second spelling helps nobody.
    if not isinstance(header, dict) or parts != [base64url(part) for part in decoded]:
        raise GrantRefusedError("form", "expected a compact JWS")
    if header.get("alg") != ALGORITHM:
        raise GrantRefusedError("alg", f"expected {ALGORITHM}")
    if header.get("typ") != typ:
        raise GrantRefusedError("typ", f"expected {typ}")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or header.keys() != {"alg", "typ", "kid"}:
        raise GrantRefusedError("form", "expected a header of alg, typ and kid")
    return key_id


def named_request(grant: str) -> UUID | None:
    """Return the request that a grant names, unchecked: to find the record that it is then judged against."""
    parts = grant.split(".") if len(grant) <= GRANT_CHARACTERS_MAX else []
    try:
        claims = json.loads(from_base64url(parts[1])) if len(parts) == 3 else None  # noqa: PLR2004 - RFC 7515, 7.1
        return UUID(claims["jti"]) if isinstance(claims, dict) else None
    except (binascii.Error, ValueError, RecursionError, KeyError, AttributeError, TypeError):
        return None


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    iss: str
    aud: str
    jti: UUID
    sub: UUID
    acct: UUID
    act: Action
    dig: str
    req: str | None = None
    amr: list[Literal["sms"]]
    iat: int
    exp: int


class _OnlyEdDsa(JWSRegistry):
    """Takes one algorithm, whatever the header says.

    joserfc warns that `EdDSA` is deprecated in favour of `Ed25519` (RFC 9864); other libraries cannot read that name
    yet, so ours stays, and this way round the warning is not raised with every grant.
    """

    def get_alg(self, name: str) -> JWSAlgModel:
        if name != ALGORITHM:
            raise GrantRefusedError("alg", f"expected {ALGORITHM}")
        return self.algorithms[ALGORITHM]


_REGISTRY = _OnlyEdDsa()


def signed_payload(jws: str, keys: Mapping[str, PublishedKey], typ: str) -> tuple[PublishedKey, bytes]:
    """Return what a JWS of that `typ` signs, and its key. Raises GrantRefusedError and KeyUnknownError."""
    key_id = key_id_of(jws, typ)
    key = keys.get(key_id)
    if key is None:
        raise KeyUnknownError("jwks", key_id)
    try:
        return key, deserialize_compact(jws, key.public, registry=_REGISTRY).payload or b""
    except (JoseError, ValueError, TypeError):
        raise GrantRefusedError("signature", "it is not of the key that it names") from None


def read_grant(grant: str, keys: Mapping[str, PublishedKey], realm: Realm) -> Grant:
    """Return what a grant says whose signature, issuer and audience are right. It authorises nothing by that alone.

    Raises GrantRefusedError and KeyUnknownError.
    """
    key, payload = signed_payload(grant, keys, TYP)
    try:
        claims = _Claims.model_validate_json(payload)
        issued_at, expires_at = datetime.fromtimestamp(claims.iat, UTC), datetime.fromtimestamp(claims.exp, UTC)
    except ValidationError as error:
        raise GrantRefusedError(
            str(error.errors()[0]["loc"][0] if error.errors()[0]["loc"] else "form"), "unfit"
        ) from None
    except (OverflowError, OSError, ValueError):
        raise GrantRefusedError("exp", "no time that exists") from None
    check_realm(claims.iss, claims.aud, realm)
    check_in_office(key, issued_at)
    if expires_at - issued_at > GRANT_LIFE_MAX:
        # Not `exp`, which says that a grant came too late: this one is none of the verifier's.
        raise GrantRefusedError("life", "longer than the verifier signs any grant for")
    return Grant(
        request_id=claims.jti,
        user_id=claims.sub,
        account_id=claims.acct,
        action=claims.act,
        digest=claims.dig,
        req=claims.req,
        method="sms" if claims.amr else "none",
        issued_at=issued_at,
        expires_at=expires_at,
        key_id=key.key_id,
    )


def check_realm(issuer: str, audience: str, realm: Realm) -> None:
    """Raise GrantRefusedError if this was signed by another issuer or for another audience."""
    if issuer != realm.issuer:
        raise GrantRefusedError("iss", "of another issuer")
    if audience != realm.audience:
        raise GrantRefusedError("aud", "for another audience")


def check_in_office(key: PublishedKey, issued_at: datetime) -> None:
    """Refuse what a key signed out of its time: a retired key counts for what it signed before, and no more."""
    if key.active_from is not None and issued_at < key.active_from - LEEWAY:
        raise GrantRefusedError("kid", "the key was not active yet when the grant was issued")
    if key.retired_at is not None and issued_at > key.retired_at + LEEWAY:
        raise GrantRefusedError("kid", "the key was retired before the grant was issued")


def _match(found: Grant, expected: Expected) -> None:
    if found.action != expected.action:
        raise GrantRefusedError("act", "for another action")
    if found.request_id != expected.request_id:
        raise GrantRefusedError("jti", "of another request")
    if found.user_id != expected.user_id:
        raise GrantRefusedError("sub", "of another user")
    if found.account_id != expected.account_id:
        raise GrantRefusedError("acct", "of another account")
    if found.digest != expected.digest:
        raise GrantRefusedError("dig", "what was approved is not what is asked for")
    if expected.req is not None and found.req != expected.req:
        raise GrantRefusedError("req", "another copy of the request was judged, not the one that was published")
