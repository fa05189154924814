"""What notices are made of: what happened, to whom it is told, and how far that has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from services.notifier.model import SealedNumber, State

# The natural key of a notice: what it tells (the event), and the number that it goes to.
NoticeKey: TypeAlias = "tuple[UUID, UUID]"


class Kind(StrEnum):
    """What happened."""

    NUMBER_REPLACED = "number.replaced"
    NUMBER_RESET = "number.reset"
    TWO_FACTOR_ENABLED = "two_factor.enabled"
    TWO_FACTOR_DISABLED = "two_factor.disabled"
    LOGIN = "login"
    WRONG_CODES = "code.exhausted"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell until `void_at`: to the members of an account, or to the one user with the number.

    `challenge_id`: a code of this challenge went to the number, or else it is none of our doing and nobody is told.
    """

    event_id: UUID
    kind: Kind
    account_id: UUID
    void_at: datetime
    user_id: UUID | None = None
    number_id: UUID | None = None
    challenge_id: UUID | None = None

    @property
    def concerns_all(self) -> bool:
        """Tell whether each member of the account is told."""
        return self.kind in {Kind.TWO_FACTOR_ENABLED, Kind.TWO_FACTOR_DISABLED}


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads it: in which language, and as what in the account; None: as nothing any more."""

    locale: str | None
    role: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A notice that is due, locked by whoever judges it. `held_by` says why it did not leave so far."""

    key: NoticeKey
    kind: Kind
    user_id: UUID
    void_at: datetime
    claims: int
    number: SealedNumber | None
    reader: Reader
    account_id: UUID
    ip: str | None = None
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast notices leave now: how many were claimed within a second, and whether codes wait for their turn."""

    now: datetime
    claimed: int
    codes_wait: bool


@dataclass(frozen=True, slots=True)
class Send:
    """Claim it: it may leave now."""

    candidate: Candidate
    number: SealedNumber


@dataclass(frozen=True, slots=True)
class Withhold:
    """End it without a text."""

    candidate: Candidate
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Delay:
    """Leave it due, but not before `until`."""

    candidate: Candidate
    until: datetime
    reason: str


Step: TypeAlias = Send | Delay | Withhold


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a claimed notice came to. It counts only if the notice is still claimed, and as often as then."""

    key: NoticeKey
    claims: int
    state: State
    reason: str | None = None
    segments: int = 0
    message_id: str | None = None
    pause_seconds: float = 0.0
