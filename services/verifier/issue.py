"""Issuing a text: the event with its sealed code, and the digest that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.contract import ChallengeIssued
from countersign.runtime.messages import cloudevents
from services.verifier.codes import UNSEALED, digest_code, sealed
from services.verifier.store_decisions import SOURCE

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import Client, Summary
    from countersign.runtime.keys import KeyRing
    from countersign.runtime.messages.record import Outgoing
    from services.verifier.model import Asked, FreshCode


@dataclass(frozen=True, slots=True)
class Text:
    """What is issued with a text, apart from its code."""

    asked: Asked
    challenge_id: UUID
    number_id: UUID
    send: int
    client: Client
    summary: Summary
    expires_at: datetime
    reserved: bool  # whether the text may use the reserve of the text limits


@dataclass(frozen=True, slots=True)
class Issued:
    """The event, and what the verifier keeps of the code."""

    event: Outgoing = field(repr=False)
    code_digest: bytes = field(repr=False)


class Issuer:
    """Holds the ring `code_keys`, shared with the notifier, and the pepper, which is the verifier's alone."""

    def __init__(self, ring: KeyRing, pepper: bytes) -> None:
        self._ring = ring
        self.pepper = pepper

    def refresh(self) -> None:
        """Take in keys that were installed since."""
        self._ring.refresh()

    def check(self, now: datetime) -> None:
        """Raise KeyUnknownError if no key seals now."""
        self._ring.current(now)

    def issue(self, text: Text, fresh: FreshCode, now: datetime) -> Issued:
        """Return the text's event and digest; the code itself is nowhere else afterwards."""
        key = self._ring.current(now)
        event = ChallengeIssued(
            challenge_id=text.challenge_id,
            request_id=text.asked.request_id,
            account_id=text.asked.account_id,
            user_id=text.asked.user_id,
            send=text.send,
            number_id=text.number_id,
            action=text.asked.action,
            summary=text.summary,
            client=text.client,
            expires_at=text.expires_at,
            reserved=text.reserved,
            key_id=key.key_id,
            sealed_code=UNSEALED,
        )
        closed = sealed(event, fresh, key.secret)
        return Issued(
            cloudevents.write(closed, source=SOURCE, time=now, traceparent=text.asked.traceparent),
            digest_code(self.pepper, text.challenge_id, text.send, fresh.code),
        )
