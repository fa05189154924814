"""Access requests, what the risk-evaluator makes of them, and what the verifier decides."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from countersign.contract.values import (
    Action,
    Client,
    DenialReason,
    Digest,
    KeyId,
    Outcome,
    Place,
    Reason,
    Summary,
    Time,
)
from countersign.runtime.cloudevents import Event


class _Access(Event):
    request_id: UUID
    account_id: UUID
    user_id: UUID
    action: Action

    def natural_key(self) -> str:
        return str(self.request_id)

    def record_key(self) -> str:
        return str(self.account_id)


class AccessRequested(_Access):
    """Somebody who gave the right password wants to do something.

    `digest` is the SHA-256 of the canonical JSON of what is to be authorised, summary included: the grant carries it.
    """

    ce_type: ClassVar[str] = "countersign.access.requested.v1"
    topic: ClassVar[str] = "access.requests.v1"

    client: Client
    digest: Digest
    summary: Summary
    number_id: UUID | None = None


class AccessAssessed(_Access):
    """The request again, with what the rules say. `mac` covers all other fields, also those added later."""

    ce_type: ClassVar[str] = "countersign.access.assessed.v1"
    topic: ClassVar[str] = "access.assessments.v1"

    client: Client
    digest: Digest
    summary: Summary
    number_id: UUID | None = None
    outcome: Outcome
    reasons: list[Reason]
    place: Place | None = None
    place_known: bool
    policy_version: Annotated[str, StringConstraints(max_length=60)]
    requested_at: Time
    key_id: KeyId
    mac: Digest


class _Decided(_Access):
    """Keyed by the request alone: there is one decision, granted or denied."""

    topic: ClassVar[str] = "access.decisions.v1"

    digest: Digest
    challenge_id: UUID | None = None
    number_id: UUID | None = None


class AccessGranted(_Decided):
    """Act only on what `grant` signs. `number_id` is where the code went."""

    ce_type: ClassVar[str] = "countersign.access.granted.v1"

    method: Literal["none", "sms"]
    reasons: list[Reason]
    grant: Annotated[str, Field(max_length=4096, repr=False)]
    grant_expires_at: Time


class AccessDenied(_Decided):
    """The end without a grant. `retry_at` with `locked` and `sms.suppressed`."""

    ce_type: ClassVar[str] = "countersign.access.denied.v1"

    method: Literal["none", "sms"]
    reasons: list[Reason]
    reason: DenialReason
    retry_at: Time | None = None
