"""What the notifier thinks in: texts to send, how far each has come, and what a claim may do with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.messages.record import Outgoing

# The natural key of a text: challenge_id and send.
TextKey: TypeAlias = "tuple[UUID, int]"


@dataclass(frozen=True, slots=True)
class Code:
    """A code, opened. Its repr and str are safe to log; `digits` is not."""

    digits: str = field(repr=False)

    def __str__(self) -> str:
        return "[code]"


@dataclass(frozen=True, slots=True)
class SmsText:
    """A text as the phone shows it, one part of GSM-7. It holds the code, so its repr does not show it."""

    body: str = field(repr=False)
    segments: int = 1

    def __str__(self) -> str:
        return "[text]"


class State(StrEnum):
    """How far a text has come. The last four are ends."""

    DUE = "due"
    CLAIMED = "claimed"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SUPPRESSED = "suppressed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Dispatch:
    """A text that became known. `event` is the challenge as it came, its code sealed; `late` ones never leave."""

    key: TextKey
    fingerprint: bytes
    account_id: UUID
    user_id: UUID
    number_id: UUID
    expires_at: datetime
    event: bytes = field(repr=False)
    traceparent: str | None
    late: bool
    reserved: bool
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the fold needs: the fingerprints of texts known by their key, and the keys that open codes."""

    fingerprints: Mapping[TextKey, bytes]
    code_secrets: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SealedNumber:
    """A number as enrolment publishes it: sealed, with what limits go by. The fingerprint is in no log either."""

    user_id: UUID
    sealed: bytes = field(repr=False)
    key_id: str
    fingerprint: bytes = field(repr=False)
    country: str
    account_members: int


@dataclass(frozen=True, slots=True)
class Addressed:
    """To whom a text goes, as the event of its end names them."""

    account_id: UUID
    user_id: UUID
    number_id: UUID
    country: str | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that is due, locked by whoever judges it. `held_by` says why it did not leave so far.

    `reserved`: where the ordinary limits are used up, it may use the reserve.
    """

    key: TextKey
    account_id: UUID
    user_id: UUID
    number_id: UUID
    expires_at: datetime
    claims: int
    number: SealedNumber | None
    held_by: str | None = None
    reserved: bool = False
    event: bytes = field(default=b"", repr=False)
    traceparent: str | None = None

    @property
    def addressed(self) -> Addressed:
        """Return to whom it goes."""
        country = self.number.country if self.number else None
        return Addressed(self.account_id, self.user_id, self.number_id, country, self.traceparent)


@dataclass(frozen=True, slots=True)
class SentTimes:
    """When texts left, latest first: those counted by the ordinary limits, and those counted by the reserve."""

    ordinary: Sequence[datetime] = ()
    reserve: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class Recent:
    """When texts left recently: a day of each number, by its fingerprint, and an hour of each account."""

    numbers: Mapping[bytes, SentTimes]
    accounts: Mapping[UUID, SentTimes]


@dataclass(frozen=True, slots=True)
class Pauses:
    """What people on call have stopped: every text, those to some countries, those of some accounts."""

    everything: bool = False
    countries: frozenset[str] = frozenset()
    accounts: frozenset[UUID] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.countries or self.accounts)

    def cover(self, account_id: UUID, country: str | None) -> bool:
        """Return True if a text of that account, to a number of that country, may not leave."""
        return self.everything or account_id in self.accounts or country in self.countries


NO_PAUSES = Pauses()


@dataclass(frozen=True, slots=True)
class Send:
    """Claim it: it may leave now, counted by the reserve or by the ordinary limits."""

    candidate: Candidate
    number: SealedNumber
    from_reserve: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Leave it due, but not before `until`."""

    candidate: Candidate
    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Withhold:
    """Settle it without a text, as refused or suppressed."""

    candidate: Candidate
    state: State
    reason: str
    retry_at: datetime | None = None


Step: TypeAlias = Send | Delay | Withhold


class Answer(StrEnum):
    """What became of an attempt to send: the provider's words in ours."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"  # certainly: due again
    IN_DOUBT = "in_doubt"  # never repeated
    STOPPED = "stopped"  # certainly not sent, and no other text would be: ours to mend


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer, with a word for the reason and, of an accepted text, the provider's id."""

    answer: Answer
    reason: str | None = None
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a text came to. It counts only if the text is still in `was` with as many `claims`.

    `delivery` is the event that is then owed to Kafka; None: the text is due again.
    """

    key: TextKey
    was: State
    claims: int
    state: State
    reason: str | None = None
    retry_at: datetime | None = None
    segments: int = 0
    message_id: str | None = None
    pause_seconds: float = 0.0
    delivery: Outgoing | None = None
