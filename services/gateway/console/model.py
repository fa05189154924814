"""What the console knows, as plain values. A number never is among them, nor a masked one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict

from countersign.client import ManagerAct, ManagerActKind
from countersign.timeline.story import Ending

if TYPE_CHECKING:
    from datetime import datetime


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class HasNumber(_Seen):
    """That there is a number. What it is stays out: fields that are not named here are ignored."""

    state: str


class HasReset(_Seen):
    """A reset that waits for a number."""

    until: AwareDatetime
    anywhere: bool = False


class Member(_Seen):
    """A member, as far as an account manager may know."""

    user_id: UUID
    role: str
    name: str
    number: HasNumber | None = None
    given_number: HasNumber | None = None
    exports_held_until: AwareDatetime | None = None
    unlocked_at: AwareDatetime | None = None
    reset: HasReset | None = None


class PendingMember(_Seen):
    """Somebody who waits for the owner's code before becoming a member, or getting a higher role."""

    user_id: UUID
    role: str
    name: str


class Account(_Seen):
    """An account, as far as an account manager may know."""

    account_id: UUID
    two_factor: bool
    two_factor_since: AwareDatetime | None = None
    exports_held_until: AwareDatetime | None = None
    members: list[Member]
    pending_members: list[PendingMember] = []


class ActSeen(_Seen):
    """An act that was carried out or recorded."""

    at: AwareDatetime
    request_id: UUID
    manager_id: UUID
    kind: str
    account_id: UUID
    user_id: UUID | None = None
    anywhere: bool = False
    reason: str
    ticket: str
    outcome: str


class RequestSeen(_Seen):
    """A request of an account and what became of it."""

    request_id: UUID
    user_id: UUID | None = None
    action: str
    at: AwareDatetime
    outcome: Ending


class StepSeen(_Seen):
    """One thing that happened to a request; `after_ms` is how long after the step before it."""

    at: AwareDatetime
    after_ms: float | None = None
    service: str
    what: str
    detail: dict[str, Any]


class Timeline(_Seen):
    """A request and all that happened to it, oldest first."""

    request: RequestSeen
    steps: list[StepSeen]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActDraft:
    """An act that a session has asked for, as of `now`. `name` is whom or what it is about, to be shown."""

    request_id: UUID
    req: str
    kind: ManagerActKind
    account_id: UUID
    target: UUID
    name: str
    anywhere: bool
    reason: str
    ticket: str
    ip: str | None
    locale: str | None
    outcome: str | None
    begun_at: datetime
    now: datetime

    @property
    def act(self) -> ManagerAct:
        """What its grant must authorise."""
        return ManagerAct(
            request_id=self.request_id,
            kind=self.kind,
            target=self.target,
            reason=self.reason,
            ticket=self.ticket,
            anywhere=self.anywhere,
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field of the form: the key of the words."""

    field: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ActForm:
    """What was typed about an act."""

    reason: str = field(default="")
    ticket: str = field(default="")
    anywhere: bool = False
