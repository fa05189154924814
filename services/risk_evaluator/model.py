"""What the rules look at and what they come to: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from countersign.contract import req_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.contract import AccessRequested, Action, Outcome, Reason, Role
    from countersign.runtime.messages.record import Incoming

NumberState = Literal["confirmed", "provided"]


class Fingerprint(NamedTuple):
    """What makes two events of one request_id the same request."""

    account_id: UUID
    user_id: UUID
    action: Action
    digest: str
    req: str | None
    """base64url of the SHA-256 of the whole record value; None in assessments made before this was stored."""

    def is_same_as(self, other: Fingerprint) -> bool:
        """Return True if both are of the same request: the whole value counts wherever both hashes are known."""
        if self.req is not None and other.req is not None:
            return self.req == other.req
        return self[:4] == other[:4]


def fingerprint_of(incoming: Incoming[AccessRequested]) -> Fingerprint:
    """Return the fingerprint of a request as it was read."""
    request = incoming.event
    req = req_of(incoming.record.value or b"")
    return Fingerprint(request.account_id, request.user_id, request.action, request.digest, req)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beliefs:
    """What the database holds about a request when its batch is loaded.

    `role` None: no member of that account. `number` is the state of the number in force, else of the given one.
    `named_number_usable`: the number that the request names is the user's, given or confirmed.
    `assessed`: the fingerprint under which the request was assessed before.
    """

    role: Role | None
    two_factor: bool
    number: NumberState | None
    named_number_usable: bool
    exports_held_until: datetime | None
    place: str | None
    place_known: bool
    assessed: Fingerprint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules see. `age` goes by the older of two clocks, `ahead` by the requester's own."""

    action: Action
    age: timedelta
    ahead: timedelta
    role: Role | None
    two_factor: bool
    number: NumberState | None
    named_number_usable: bool
    exports_held: bool
    place: str | None
    place_known: bool


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the rules came to."""

    outcome: Outcome
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Disputed:
    """Another request came under the id of one that was assessed: a grant of it teaches no place."""

    request_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessed:
    """An assessment of ours that was granted since. `forgotten_at`: when its place was last forgotten.

    `disputed`: another request came under the same id, so nobody can say whose place this is.

    `first_used_at`, `last_used_at`: of its place by its user, as far as they are written.
    """

    fingerprint: Fingerprint
    place: str | None
    forgotten_at: datetime | None
    disputed: bool = False
    first_used_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """A granted login: this user of the account was at this place."""

    account_id: UUID
    place: str
    taught_by: UUID
    granted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """Grants up to `forgotten_at` teach no place any more. `user_id` None: of all users; `place` None: all places."""

    account_id: UUID
    user_id: UUID | None
    place: str | None
    forgotten_at: datetime
