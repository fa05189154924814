"""Members of accounts, as the platform tells them, and what changed in an account's settings."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from countersign.contract.hints import NO_NAME, SHOWN_CHARACTERS_MAX, locale_hint, read_name
from countersign.contract.values import Actor, Digest, Locale, Place, Role, Version
from countersign.runtime.messages.cloudevents import Event, Text
from countersign.runtime.messages.repairs import report_repair


class _Member(Event):
    topic: ClassVar[str] = "account.members.v1"

    account_id: UUID
    """The account; never another for the same user."""
    user_id: UUID
    """The member."""
    version: Version
    """Counts up with every word about this user; a lower one than any seen is passed over."""

    def natural_key(self) -> str:
        return f"{self.user_id}:{self.version}"

    def record_key(self) -> str:
        return str(self.user_id)


class MemberSet(_Member):
    """A member as of `version`. Applied only if the version is higher than any seen for that user."""

    # Writers give a name; a member whose name is missing is a member all the same.
    model_config = ConfigDict(json_schema_extra={"required": ["account_id", "user_id", "version", "role", "name"]})

    ce_type: ClassVar[str] = "countersign.account.member_set.v1"

    role: Role
    """Account managers are the members of the one staff account."""
    name: Annotated[
        Text, StringConstraints(min_length=1, max_length=SHOWN_CHARACTERS_MAX), BeforeValidator(read_name)
    ] = Field(default_factory=lambda: NO_NAME)
    """As shown to others."""
    locale: Annotated[Locale | None, locale_hint("locale")] = None
    """The language the member reads, as a BCP 47 tag."""
    grant: Annotated[Annotated[str, StringConstraints(max_length=4096)] | None, Field(repr=False)] = None
    """The `manage_member` grant that a protected account's change needs; without it the member is kept as pending."""

    @model_validator(mode="after")
    def _report_what_was_missing(self, info: ValidationInfo) -> Self:
        if "name" not in self.model_fields_set:
            report_repair(info, "name", f"it was missing, {NO_NAME} is shown")
        return self


class MemberRemoved(_Member):
    """The user is no member any more. An older set that arrives later changes nothing."""

    ce_type: ClassVar[str] = "countersign.account.member_removed.v1"


class Setting(Event):
    """One change of an account's settings; `chain_head` is the head of the audit table after it."""

    topic: ClassVar[str] = "account.settings.v1"

    account_id: UUID
    """Whose setting."""
    user_id: UUID | None = None
    """Whose number, lock or places; null where the whole account is meant."""
    version: Version
    """Counts up with every change of this account's settings."""
    actor: Actor
    """Who changed it."""
    reason: Annotated[Text, StringConstraints(max_length=500)] | None = None
    """In the account manager's own words."""
    ticket: Annotated[Text, StringConstraints(max_length=100)] | None = None
    """The support case."""
    number_id: UUID | None = None
    """The number this is about."""
    old_number_id: UUID | None = None
    """The number that was in force before."""
    place: Place | None = None
    """The place that is forgotten; null: all of them."""
    chain_head: Digest
    """The head of the account's audit table after this change."""

    def natural_key(self) -> str:
        return f"{self.account_id}:{self.version}"

    def record_key(self) -> str:
        return str(self.account_id)


class TwoFactorEnabled(Setting):
    """From now on the account's logins from new computers and its exports need a code."""

    ce_type: ClassVar[str] = "countersign.two_factor.enabled.v1"


class TwoFactorDisabled(Setting):
    """Only an account manager turns it off, with `reason` and `ticket`."""

    ce_type: ClassVar[str] = "countersign.two_factor.disabled.v1"


class NumberProvided(Setting):
    """A number was entered; it counts once it is confirmed."""

    ce_type: ClassVar[str] = "countersign.number.provided.v1"


class NumberConfirmed(Setting):
    """A code sent to the number came back: it is the user's number in force."""

    ce_type: ClassVar[str] = "countersign.number.confirmed.v1"


class NumberReplaced(Setting):
    """`number_id` is in force in place of `old_number_id`, which is told so by a text."""

    ce_type: ClassVar[str] = "countersign.number.replaced.v1"


class NumberReset(Setting):
    """An account manager took the user's number away, with `reason` and `ticket`."""

    ce_type: ClassVar[str] = "countersign.number.reset.v1"


class NumberResetRecorded(Setting):
    """An account manager wants an owner's number reset; a second one's act with the same `ticket` carries it out."""

    ce_type: ClassVar[str] = "countersign.number.reset_recorded.v1"


class UserUnlocked(Setting):
    """An account manager cleared the user's counters of wrong codes, with `reason` and `ticket`."""

    ce_type: ClassVar[str] = "countersign.user.unlocked.v1"


class PlacesForgotten(Setting):
    """`place` null: all. `user_id` null: of every user of the account."""

    ce_type: ClassVar[str] = "countersign.places.forgotten.v1"


class ExportsReleased(Setting):
    """An account manager ended the hold on the account's exports, with `reason` and `ticket`."""

    ce_type: ClassVar[str] = "countersign.exports.released.v1"
