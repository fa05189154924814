"""Access requests, what the risk-evaluator makes of them, and what the verifier decides."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from countersign.contract.values import (
    Action,
    Client,
    ClientHint,
    DenialReason,
    Digest,
    KeyId,
    Outcome,
    Place,
    Reason,
    Summary,
    SummaryHint,
    Time,
)
from countersign.runtime.messages.cloudevents import Event, Text
from countersign.runtime.messages.repairs import report_repair

# How long a code may live (NIST SP 800-63B-4, 3.1.3.2); what ends with one has its bound from here.
CODE_LIFE_MAX = timedelta(minutes=10)
# The longest time from `iat` to `exp` of a grant. The verifier signs no longer one, and readers refuse any that is
# longer, so that a key that leaked cannot sign grants that live for ever.
GRANT_LIFE_MAX = CODE_LIFE_MAX


class _Access(Event):
    request_id: UUID
    """Chosen by whoever asks, version 7 by preference. The same id again is the same request; it gets one decision."""
    account_id: UUID
    """The account that is to be entered or acted on."""
    user_id: UUID
    """Who gave the right password, and whose phone gets the code."""
    action: Action
    """What somebody wants to do."""

    def natural_key(self) -> str:
        return str(self.request_id)

    def record_key(self) -> str:
        return str(self.account_id)


class AccessRequested(_Access):
    """Somebody who gave the right password wants to do something.

    `digest` is the SHA-256 of the canonical JSON of what is to be authorised, summary included: the grant carries it.
    """

    # Writers give client and summary; a reader that is not given them takes empty ones.
    model_config = ConfigDict(
        json_schema_extra={"required": ["request_id", "account_id", "user_id", "action", "client", "digest", "summary"]}
    )

    ce_type: ClassVar[str] = "countersign.access.requested.v1"
    topic: ClassVar[str] = "access.requests.v1"

    client: ClientHint = Field(default_factory=Client)
    """Where the request came from."""
    digest: Digest
    """base64url, without padding, of the SHA-256 of the canonical JSON (RFC 8785) of what is to be authorised."""
    summary: SummaryHint = Field(default_factory=Summary)
    """What the text shows beside the code; part of what the digest covers."""
    number_id: UUID | None = None
    """The number to send the code to, for `confirm_number`; null: the user's number in force, or else the given one."""

    @model_validator(mode="after")
    def _report_what_was_missing(self, info: ValidationInfo) -> Self:
        for name in ("client", "summary"):
            if name not in self.model_fields_set:
                report_repair(info, name, "it was missing, an empty one was taken")
        return self


class AccessAssessed(_Access):
    """The request again, with what the rules say. `mac` covers all other fields, also those added later."""

    ce_type: ClassVar[str] = "countersign.access.assessed.v1"
    topic: ClassVar[str] = "access.assessments.v1"

    client: Client
    """As requested."""
    digest: Digest
    """As requested."""
    summary: Summary
    """As requested."""
    number_id: UUID | None = None
    """As requested."""
    outcome: Outcome
    """The severest outcome of the rules that fired."""
    reasons: Annotated[list[Reason], Field(max_length=20)]
    """Every rule that fired."""
    place: Place | None = None
    """The network that the address was cut to; null where there was no usable address."""
    place_known: bool
    """Whether the account has used the place before."""
    policy_version: Annotated[Text, StringConstraints(max_length=60)]
    """The version of the policy that the rules took their limits from."""
    requested_at: Time
    """The older of the request's ce_time and its append time: nobody makes a request younger than it is."""
    req: Digest | None = None
    """base64url of the SHA-256 of the request record's value, byte for byte as it was read; the grant carries it on."""
    key_id: KeyId
    """The key of `mac`."""
    mac: Digest
    """base64url of HMAC-SHA-256 over the canonical JSON of all other fields."""


class _Decided(_Access):
    """Keyed by the request alone: there is one decision, granted or denied."""

    topic: ClassVar[str] = "access.decisions.v1"

    digest: Digest
    """As requested."""
    challenge_id: UUID | None = None
    """The challenge; null where there was none."""
    number_id: UUID | None = None
    """The number that the code went to; null where there was none."""


class AccessGranted(_Decided):
    """Act only on what `grant` signs. `number_id` is where the code went."""

    ce_type: ClassVar[str] = "countersign.access.granted.v1"

    method: Literal["none", "sms"]
    """How it was proven: by a code, or not at all."""
    reasons: Annotated[list[Reason], Field(max_length=20)]
    """The reasons of the assessment."""
    grant: Annotated[str, Field(max_length=4096, repr=False)]
    """A JWS (EdDSA) by the verifier, to check against its JWKS, spent once."""
    grant_expires_at: Time
    """The grant's `exp`: 10 minutes after its `iat` at most."""


class AccessDenied(_Decided):
    """The end without a grant. `retry_at` with `locked` and `sms.suppressed`. Act only on what `proof` signs."""

    ce_type: ClassVar[str] = "countersign.access.denied.v1"

    method: Literal["none", "sms"]
    """Whether a code was asked for."""
    reasons: Annotated[list[Reason], Field(max_length=20)]
    """The reasons of the assessment."""
    reason: DenialReason
    """Why it ended without a grant."""
    retry_at: Time | None = None
    """When a new request may fare better."""
    proof: Annotated[Annotated[str, StringConstraints(max_length=4096)] | None, Field(repr=False)] = None
    """A JWS (EdDSA) by the verifier over this denial, of type `countersign-denial+jwt`; it authorises nothing."""
