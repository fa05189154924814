"""What enrolment knows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from countersign.contract import Actor, Role, Summary

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

NumberState = Literal["provided", "confirmed", "replaced", "reset"]
ChangeKind = Literal[
    "two_factor.enabled",
    "two_factor.disabled",
    "number.provided",
    "number.confirmed",
    "number.replaced",
    "number.reset",
    "number.reset_recorded",
    "user.unlocked",
    "places.forgotten",
    "exports.released",
]


@dataclass(frozen=True, slots=True)
class Profile:
    """What a member_set says of a person."""

    role: Role
    name: str
    locale: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A person as of the highest version seen. `profile` None: removed, or waiting for the owner's code."""

    user_id: UUID
    account_id: UUID
    version: int
    profile: Profile | None
    removed: bool = False
    pending: Profile | None = None


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A member as it is from now on, and the request whose grant was spent on it."""

    member: Member
    spent: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What a grant signs, once its signature was checked."""

    request_id: UUID
    account_id: UUID
    user_id: UUID
    action: str
    digest: str
    req: str | None
    method: Literal["none", "sms"]
    issued_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRequest:
    """An access request that this service made, as it was made. `req` is the hash of what it published."""

    request_id: UUID
    account_id: UUID
    user_id: UUID
    action: str
    digest: str
    req: str | None = None
    summary: Summary = field(default_factory=Summary)
    number_id: UUID | None = None
    old_number_id: UUID | None = None
    member_id: UUID | None = None
    member_fingerprint: bytes | None = None
    new_number_id: UUID | None = None
    ip: str | None = None
    open: bool = True
    spent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of a user, without the number. It was theirs from `provided_at` until `ended_at`."""

    number_id: UUID
    user_id: UUID
    account_id: UUID
    state: NumberState
    provided_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A given number that a code confirms. `replaces` is the number in force until now; `ip` where the user was."""

    number_id: UUID
    user_id: UUID
    account_id: UUID
    replaces: UUID | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a decision comes to: an own request closed, a given number confirmed."""

    request_id: UUID
    account_id: UUID
    user_id: UUID
    closes: Literal["granted", "denied"] | None = None
    confirms: Confirmed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of an account's settings, before it has its version and its place in the chain."""

    kind: ChangeKind
    account_id: UUID
    actor: Actor
    user_id: UUID | None = None
    reason: str | None = None
    ticket: str | None = None
    number_id: UUID | None = None
    old_number_id: UUID | None = None
    place: str | None = None
    ip: str | None = None


@dataclass(frozen=True, slots=True)
class MemberNumbers:
    """A member with the states of the numbers at hand: what turning two-factor on asks about."""

    user_id: UUID
    role: Role
    confirmed: bool
    given: bool


@dataclass(frozen=True, slots=True)
class Block:
    """Why two-factor cannot be turned on. `user_id` None: the account itself lacks something."""

    user_id: UUID | None
    reason: Literal["owner.missing", "number.missing", "number.unconfirmed"]
