"""What the verifier knows when it decides, and what it can decide. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import AccessAssessed, Action, DenialReason, Reason, Role

NumberState = Literal["provided", "confirmed", "replaced", "reset"]
TextState = Literal["sending", "accepted", "unknown", "refused", "suppressed"]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What makes two assessments of one request id the same request."""

    account_id: UUID
    user_id: UUID
    action: str
    digest: str
    req: str | None


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number, without the number."""

    number_id: UUID
    user_id: UUID
    state: NumberState
    hint: str


@dataclass(frozen=True, slots=True)
class Protection:
    """A member as enrolment publishes it. `number` is the one in force, else the given one, else none."""

    role: Role
    two_factor: bool
    number: Number | None
    exports_held_until: datetime | None = None
    unlocked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counter:
    """Consecutive failures of a user at known, or at new, places."""

    failures: int = 0
    last_failed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Answers of a counter are not judged until then; None: until an account manager unlocks the user."""

    until: datetime | None


@dataclass(frozen=True, slots=True)
class FreshCode:
    """A code drawn while loading, and the nonce it will be sealed with. Neither shows in a repr."""

    code: str = field(repr=False)
    nonce: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Beliefs:
    """What is known about one assessment's request, user and number before it is decided.

    `open_challenges` are those of the same user and place that are still open, oldest first.
    """

    seen: Fingerprint | None
    protection: Protection | None
    asked_number: Number | None
    counter: Counter
    open_challenges: tuple[UUID, ...]
    fresh: FreshCode


@dataclass(frozen=True, slots=True)
class Allow:
    """The floor honours it: a grant without a code."""


@dataclass(frozen=True, slots=True)
class Deny:
    """`retry_at` with `locked`, where a wait has an end."""

    reason: DenialReason
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A challenge to open, and those it crowds out. `reserved`: its text may use the reserve of the text limits."""

    number: Number
    fresh: FreshCode
    cancels: tuple[UUID, ...] = ()
    reserved: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """An assessment and what follows from it.

    `crowded_out` is filled while this is stored: the ends of the challenges that its own one closed.
    """

    event: AccessAssessed
    reasons: tuple[Reason, ...]
    ending: Allow | Deny | Open
    traceparent: str | None = None
    crowded_out: list[Denied] = field(default_factory=list, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """What every decision repeats of its request; the code's number and challenge where there was one.

    `req` is the hash of the request that was judged; None in rows from before this was stored.
    """

    request_id: UUID
    account_id: UUID
    user_id: UUID
    action: Action
    digest: str
    reasons: tuple[Reason, ...]
    challenge_id: UUID | None = None
    number_id: UUID | None = None
    traceparent: str | None = None
    req: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """The end with a grant: by a code, or because the floor honoured an `allow`."""

    asked: Asked


@dataclass(frozen=True, slots=True)
class Denied:
    """The end without one."""

    asked: Asked
    reason: DenialReason
    retry_at: datetime | None = None


Decision: TypeAlias = "Granted | Denied"


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge as its row says."""

    challenge_id: UUID
    asked: Asked
    place_known: bool
    attempts: int
    attempts_max: int
    expires_at: datetime
    closed_at: datetime | None = None

    @property
    def tries_left(self) -> int:
        return max(0, self.attempts_max - self.attempts)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is read with a challenge, and the time at which it is read.

    `number` is where the code went, as enrolment has it now; `digests` are the good codes by send, the latest two,
    and `older` those of the texts before.
    """

    now: datetime
    counter: Counter
    protection: Protection | None
    number: Number | None
    digests: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)
    older: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)


class Verdict(Enum):
    """What became of an answer."""

    ACCEPTED = "accepted"
    MISMATCHED = "mismatched"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    CLOSED = "closed"
    REPLACED = "replaced"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and its consequences: the counts as they are now, and the end if this is one."""

    verdict: Verdict
    attempts: int
    counter: Counter
    tries_left: int
    ending: Decision | None = None
    wait: Wait | None = None

    @property
    def accepted(self) -> bool:
        return self.verdict is Verdict.ACCEPTED

    @property
    def counts(self) -> bool:
        """A try was used: only what was compared counts."""
        return self.verdict in {Verdict.ACCEPTED, Verdict.MISMATCHED}


@dataclass(frozen=True, slots=True)
class Send:
    """A text of a challenge."""

    send: int
    issued_at: datetime
    state: TextState
    reason: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SendAgain:
    """A further text may leave as number `send`."""

    send: int


@dataclass(frozen=True, slots=True)
class SendLater:
    """Not yet. None: not before an account manager unlocks the user."""

    at: datetime | None


@dataclass(frozen=True, slots=True)
class SendNever:
    """No further text. `ending` where asking showed that the challenge is over."""

    why: str
    ending: Decision | None = None


Resend: TypeAlias = "SendAgain | SendLater | SendNever"


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a text, and the end of the challenge if no text of it will ever arrive."""

    challenge_id: UUID
    send: Send
    asked: Asked
    ending: Denied | None = None
