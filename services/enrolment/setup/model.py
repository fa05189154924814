"""What setting up knows, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from countersign.contract import Client

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from countersign.contract import Action, Summary
    from services.enrolment.model import Member, Number

Needs = Literal["confirm_number", "change_number", "manage_member"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedNumber:
    """A number as it is kept: sealed with its user's id, `fingerprint` to compare it by, `hint` to show it by."""

    number_id: UUID
    hint: str
    country: str
    key_id: str
    sealed: bytes = field(repr=False)
    fingerprint: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who wants to change whose number, under the account's lock. Fingerprints are by number id."""

    actor: Member | None
    target: Member | None
    two_factor: bool
    actor_confirmed: bool
    numbers: tuple[Number, ...] = ()
    fingerprints: Mapping[UUID, bytes] = field(default_factory=dict, repr=False)

    @property
    def in_force(self) -> Number | None:
        """The target's number in force."""
        return next((number for number in self.numbers if number.state == "confirmed"), None)

    @property
    def given(self) -> Number | None:
        """The target's number that waits for its first accepted code."""
        return next((number for number in self.numbers if number.state == "provided"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What follows from a number that somebody entered.

    `needs`: the code that is asked for; None: none. `keep`: the number becomes the given one at once. `hold`: exports
    of the user are held, as a protected user's number changed.
    """

    needs: Needs | None
    keep: bool
    hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """An access request that this service is about to make. `user_id` enters the code.

    `number_id` is where the code goes; None: to the number in force. `new` is the number that the grant lets in.
    """

    request_id: UUID
    account_id: UUID
    user_id: UUID
    action: Action
    authorised: Mapping[str, object]
    summary: Summary
    client: Client = field(default_factory=Client)
    number_id: UUID | None = None
    old_number_id: UUID | None = None
    member_id: UUID | None = None
    member_fingerprint: bytes | None = field(default=None, repr=False)
    new: SealedNumber | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A request of before, as far as a repeated form is compared with it and answered from it."""

    user_id: UUID
    action: Action
    subject_id: UUID
    number_id: UUID | None
    hint: str | None
    fingerprint: bytes | None = field(repr=False)
