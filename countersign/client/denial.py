"""Judging the proof of a denial, pure: a denial that anybody could write would end whatever waits for a decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from countersign.client.grant import GrantRefusedError, check_in_office, check_realm, signed_payload
from countersign.contract import AccessDenied, AccessGranted, Action, DenialReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.client.grant import Expected, PublishedKey, Realm

DENIAL_TYP = "countersign-denial+jwt"  # another type than a grant's, so that neither is ever taken for the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """What the verifier signed: why the request was denied, and when a new one may fare better."""

    reason: DenialReason
    retry_at: datetime | None


class _Claims(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    iss: str
    aud: str
    jti: UUID
    sub: UUID
    acct: UUID
    act: Action
    dig: str
    reason: DenialReason
    retry_at: AwareDatetime | None = None
    iat: int


def jws_of(event: AccessGranted | AccessDenied) -> str:
    """Return the signed part of a decision: its grant or its proof; an empty text for a denial without a proof."""
    return event.grant if isinstance(event, AccessGranted) else event.proof or ""


def judge_denial(proof: str, expected: Expected, keys: Mapping[str, PublishedKey], realm: Realm) -> Denial:
    """Return the denial if the verifier signed it for exactly `expected`, however long ago.

    Raises GrantRefusedError, whose `what` names the part that does not match, and KeyUnknownError.
    """
    key, payload = signed_payload(proof, keys, DENIAL_TYP)
    try:
        claims = _Claims.model_validate_json(payload)
        issued_at = datetime.fromtimestamp(claims.iat, UTC)
    except (ValidationError, OverflowError, OSError, ValueError):
        raise GrantRefusedError("form", "expected the claims of a denial") from None
    check_realm(claims.iss, claims.aud, realm)
    check_in_office(key, issued_at)
    said = (claims.act, claims.jti, claims.sub, claims.acct, claims.dig)
    if said != (expected.action, expected.request_id, expected.user_id, expected.account_id, expected.digest):
        raise GrantRefusedError("jti", "it denies another request")
    return Denial(reason=claims.reason, retry_at=claims.retry_at)
