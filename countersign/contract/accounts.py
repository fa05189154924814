"""Members of accounts, as the platform tells them, and what changed in an account's settings."""

from __future__ import annotations

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field, StringConstraints

from countersign.contract.values import Actor, Digest, Locale, Place, Role, Version
from countersign.runtime.cloudevents import Event, Text


class _Member(Event):
    topic: ClassVar[str] = "account.members.v1"

    account_id: UUID
    user_id: UUID
    version: Version

    def natural_key(self) -> str:
        return f"{self.user_id}:{self.version}"

    def record_key(self) -> str:
        return str(self.user_id)


class MemberSet(_Member):
    """A member as of `version`. Applied only if the version is higher than any seen for that user."""

    ce_type: ClassVar[str] = "countersign.account.member_set.v1"

    role: Role
    name: Annotated[Text, StringConstraints(min_length=1, max_length=200)]
    locale: Locale | None = None
    grant: Annotated[Annotated[str, StringConstraints(max_length=4096)] | None, Field(repr=False)] = None


class MemberRemoved(_Member):
    """The user is no member any more. An older set that arrives later changes nothing."""

    ce_type: ClassVar[str] = "countersign.account.member_removed.v1"


class _Setting(Event):
    """One change of an account's settings; `chain_head` is the head of the audit table after it."""

    topic: ClassVar[str] = "account.settings.v1"

    account_id: UUID
    user_id: UUID | None = None
    version: Version
    actor: Actor
    reason: Annotated[Text, StringConstraints(max_length=500)] | None = None
    ticket: Annotated[Text, StringConstraints(max_length=100)] | None = None
    number_id: UUID | None = None
    old_number_id: UUID | None = None
    place: Place | None = None
    chain_head: Digest

    def natural_key(self) -> str:
        return f"{self.account_id}:{self.version}"

    def record_key(self) -> str:
        return str(self.account_id)


class TwoFactorEnabled(_Setting):
    ce_type: ClassVar[str] = "countersign.two_factor.enabled.v1"


class TwoFactorDisabled(_Setting):
    ce_type: ClassVar[str] = "countersign.two_factor.disabled.v1"


class NumberProvided(_Setting):
    ce_type: ClassVar[str] = "countersign.number.provided.v1"


class NumberConfirmed(_Setting):
    ce_type: ClassVar[str] = "countersign.number.confirmed.v1"


class NumberReplaced(_Setting):
    ce_type: ClassVar[str] = "countersign.number.replaced.v1"


class NumberReset(_Setting):
    ce_type: ClassVar[str] = "countersign.number.reset.v1"


class UserUnlocked(_Setting):
    ce_type: ClassVar[str] = "countersign.user.unlocked.v1"


class PlacesForgotten(_Setting):
    """`place` null: all. `user_id` null: of every user of the account."""

    ce_type: ClassVar[str] = "countersign.places.forgotten.v1"
