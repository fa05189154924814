"""A challenge on its way to a phone, and what became of the text."""

from __future__ import annotations

from typing import Annotated, ClassVar
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import Field, StringConstraints

from countersign.contract.values import Action, Client, Country, KeyId, Send, Summary, Time
from countersign.runtime.messages.cloudevents import Event, Text, Word

_CHALLENGES = uuid5(NAMESPACE_URL, "countersign.challenge")


def challenge_id_of(request_id: UUID) -> UUID:
    """Return the id of the one challenge that a request can have."""
    return uuid5(_CHALLENGES, str(request_id))


class _Sent(Event):
    challenge_id: UUID
    """uuid5 of the request: a request has one challenge at most."""
    account_id: UUID
    """The account of the request."""
    user_id: UUID
    """Whose phone."""
    send: Send
    """Which text of the challenge: 1, and one more with each resend."""
    number_id: UUID
    """Names the number; the number itself is on no topic."""

    def natural_key(self) -> str:
        return f"{self.challenge_id}:{self.send}"

    def record_key(self) -> str:
        return str(self.account_id)


class ChallengeIssued(_Sent):
    """One text to send. `sealed_code` opens only with the rest of this event, unchanged."""

    ce_type: ClassVar[str] = "countersign.challenge.issued.v1"
    topic: ClassVar[str] = "access.challenges.v1"

    request_id: UUID
    """The request that the code answers."""
    action: Action
    """What the code is for: the text says it."""
    summary: Summary
    """What the text shows beside it."""
    client: Client
    """Where the request came from: the text says it, in the claimant's language."""
    expires_at: Time
    """The end of the challenge; no text is sent with under 5 s left."""
    reserved: bool = False
    """This text may use the reserve of the text limits: it was asked for from a place that the account knows, or by an
    account manager."""
    key_id: KeyId
    """The key of `sealed_code`."""
    sealed_code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{40,200}$"), Field(repr=False)]
    """base64url of nonce and AES-256-GCM of the code, with all other fields, canonical, as associated data."""


class _Delivery(_Sent):
    """One outcome per text: the four types share the key, and the first one stands."""

    topic: ClassVar[str] = "sms.deliveries.v1"

    country: Country | None = None
    """ISO 3166-1 alpha-2 of the number, or 001 for one of no country."""
    segments: Annotated[int, Field(ge=0, le=10)] = 0
    """Into how many parts the text was cut; 0 where nothing was sent."""
    provider: Word
    """Who carries texts: `sns`."""
    provider_message_id: Annotated[Text, StringConstraints(max_length=200)] | None = None
    """The provider's name of the text."""
    reason: Word | None = None
    """Why it was not accepted."""
    retry_at: Time | None = None
    """When a limit of ours lets the next text pass."""


class SmsAccepted(_Delivery):
    """The provider took the text. That is not yet the phone."""

    ce_type: ClassVar[str] = "countersign.sms.accepted.v1"


class SmsRefused(_Delivery):
    """The provider will never deliver to this number; nothing was sent."""

    ce_type: ClassVar[str] = "countersign.sms.refused.v1"


class SmsSuppressed(_Delivery):
    """A limit of ours held the text back; `retry_at` says until when."""

    ce_type: ClassVar[str] = "countersign.sms.suppressed.v1"


class SmsUnknown(_Delivery):
    """Whether the text left is in doubt. It is never repeated by itself."""

    ce_type: ClassVar[str] = "countersign.sms.unknown.v1"
