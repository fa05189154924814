"""What setting up decides, pure: who may change whose number, which code that needs, and what its grant must carry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from countersign.contract import base64url
from services.enrolment.setup.model import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import Role
    from services.enrolment.model import Member, Number, OwnRequest
    from services.enrolment.setup.model import Standing

# chosen: somebody who waits for a text that does not come may ask again, without a second code to the old number
CHANGE_APPROVED_FOR = timedelta(hours=1)

Refusal = Literal[
    "user_unknown",
    "actor_not_allowed",
    "number_in_force",
    "same_number",
    "number_missing",
    "none_given",
    "number_changed",
]


class SetupRefusedError(Exception):
    """What was asked for is not allowed. `kind` says why, in a word."""

    def __init__(self, kind: Refusal) -> None:
        super().__init__(kind)
        self.kind = kind


def owns(actor: Member | None, account_id: UUID) -> bool:
    """Return True if the actor is an owner of the account."""
    if actor is None or actor.profile is None or actor.account_id != account_id:
        return False
    return actor.profile.role == "owner"


def manages(actor: Member | None, account_id: UUID) -> bool:
    """Return True if the actor is an account manager of the account: then it is the staff account."""
    if actor is None or actor.profile is None or actor.account_id != account_id:
        return False
    return actor.profile.role == "account_manager"


def plan(standing: Standing, fingerprint: bytes) -> Plan:
    """Return what follows from a number that somebody entered. Raises SetupRefusedError.

    Users enter their own numbers. Owners enter numbers of other members who have none in force: what somebody proved
    to be theirs is changed by them alone. Where a number is in force, its code comes first, and the new number counts
    for nothing before it.
    """
    actor, target = _both(standing)
    in_force = standing.in_force
    if actor.user_id == target.user_id:
        if in_force is None:
            given = standing.given
            # No owner approved another number: somebody with the password at a known place may enter their own.
            other = given is None or standing.fingerprints.get(given.number_id) != fingerprint
            return Plan(needs="confirm_number", keep=True, hold=standing.two_factor and other)
        if standing.fingerprints.get(in_force.number_id) == fingerprint:
            raise SetupRefusedError("same_number")
        return Plan(needs="change_number", keep=False)
    if not owns(actor, target.account_id):
        raise SetupRefusedError("actor_not_allowed")
    if in_force is not None:
        raise SetupRefusedError("number_in_force")
    if not standing.two_factor:
        return Plan(needs=None, keep=True)
    if not standing.actor_confirmed:
        raise SetupRefusedError("number_missing")
    return Plan(needs="manage_member", keep=False)


def redeemed(standing: Standing, request: OwnRequest) -> Plan:
    """Return what follows from an accepted code of a request of before. Raises SetupRefusedError.

    What was true when the request was made must be true still: the number in force, and who may give whom a number.
    """
    actor, target = _both(standing)
    in_force_id = standing.in_force.number_id if standing.in_force is not None else None
    if in_force_id != request.old_number_id:
        raise SetupRefusedError("number_changed")
    if request.action == "change_number" and actor.user_id == target.user_id == request.user_id:
        return Plan(needs="confirm_number", keep=True)
    if request.action == "manage_member" and actor.user_id == request.user_id and owns(actor, target.account_id):
        return Plan(needs=None, keep=True)
    raise SetupRefusedError("actor_not_allowed")


def member_of(standing: Standing) -> Member:
    """Return the member whose number it is about. Raises SetupRefusedError."""
    return _both(standing)[1]


def confirms_own(standing: Standing, now: datetime) -> Number:
    """Return the given number that its user may confirm now. Raises SetupRefusedError.

    Beside a number in force there is a given one only after an accepted code to the former; that approval ends.
    """
    actor, target = _both(standing)
    if actor.user_id != target.user_id:
        raise SetupRefusedError("actor_not_allowed")
    given = standing.given
    if given is None or (standing.in_force is not None and now - given.provided_at >= CHANGE_APPROVED_FOR):
        raise SetupRefusedError("none_given")
    return given


def _both(standing: Standing) -> tuple[Member, Member]:
    actor, target = standing.actor, standing.target
    if target is None or target.profile is None:
        raise SetupRefusedError("user_unknown")
    if actor is None or actor.profile is None or actor.account_id != target.account_id:
        raise SetupRefusedError("actor_not_allowed")
    return actor, target


def confirm_authorised(request_id: UUID, user_id: UUID, number_id: UUID) -> Mapping[str, object]:
    """Return what a confirm_number grant authorises."""
    return {"request_id": str(request_id), "user_id": str(user_id), "number_id": str(number_id)}


def change_authorised(request_id: UUID, user_id: UUID, old_id: UUID, new_fingerprint: bytes) -> Mapping[str, object]:
    """Return what a change_number grant authorises, entered at the number in force."""
    return {
        "request_id": str(request_id),
        "user_id": str(user_id),
        "old_number_id": str(old_id),
        "new_number_fingerprint": base64url(new_fingerprint),
    }


def member_authorised(
    request_id: UUID, account_id: UUID, member_id: UUID, *, role: Role, name: str, fingerprint: bytes | None
) -> Mapping[str, object]:
    """Return what a manage_member grant authorises."""
    return {
        "request_id": str(request_id),
        "account_id": str(account_id),
        "member": str(member_id),
        "role": role,
        "name": name,
        "number_fingerprint": None if fingerprint is None else base64url(fingerprint),
    }
