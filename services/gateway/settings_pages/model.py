"""What the settings pages know, as plain values; and an account as enrolment shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

DraftPage = Literal["two_factor", "number", "member_number"]
Needs = Literal["confirm_number", "change_number", "manage_member"]


class Seen(BaseModel):
    """A part of what enrolment answers; what it does not name here is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Number(Seen):
    """A number as enrolment shows it; `since` is when it was confirmed or given."""

    number_id: UUID
    state: str
    hint: str
    since: AwareDatetime | None = None


class Reset(Seen):
    """An account manager took the number away a short while ago."""

    at: AwareDatetime
    until: AwareDatetime
    anywhere: bool = False


class Member(Seen):
    """A member as enrolment shows it: `number` is in force, `given_number` waits for its first code."""

    user_id: UUID
    role: str
    name: str
    number: Number | None = None
    given_number: Number | None = None
    exports_held_until: AwareDatetime | None = None
    reset: Reset | None = None


class Block(Seen):
    """What stands in the way of turning two-factor authentication on; `name` is whose number it is about."""

    user_id: UUID | None = None
    name: str | None = None
    reason: str


class Account(Seen):
    """An account as enrolment shows it. `two_factor_since` is when the setting was turned on last."""

    two_factor: bool
    two_factor_since: AwareDatetime | None = None
    exports_held_until: AwareDatetime | None = None
    members: list[Member]
    blocked_by: list[Block] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A change that waits for its code, as of `now`. `user_id` is whose number it is about.

    `forget` are the places that were not ticked when two-factor authentication is to be turned on. `steps` is how many
    codes the whole change takes.
    """

    page: DraftPage
    user_id: UUID
    request_id: UUID
    needs: Needs
    number_id: UUID | None
    number_hint: str
    steps: int
    forget: tuple[str, ...]
    begun_at: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, and the address of what it is about: a field of the page (`#number`) or another page."""

    text: str
    href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a page says once. `typed` are the fields as they were typed; they may hold a number."""

    kind: Literal["problem", "done", "typed"]
    said: tuple[Said, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPlace:
    """A place that has used the account. `here`: the session that looks began there."""

    place: str
    first_used_at: datetime
    last_used_at: datetime
    here: bool

    @property
    def address(self) -> str:
        """The place as people know it: without the length of a prefix that is a single IPv4 address."""
        return self.place.removesuffix("/32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One access request of a user and what became of it."""

    at: datetime
    place: str | None
    action: str
    outcome: str
    challenge_id: UUID | None

    @property
    def address(self) -> str | None:
        """The place as people know it."""
        return None if self.place is None else self.place.removesuffix("/32")
