"""What enrolment decides, pure: members by version, numbers by accepted codes, and what blocks turning on."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from countersign.client.digests import authorised_digest
from countersign.contract import CODE_LIFE_MAX, AccessDenied, AccessGranted, MemberRemoved, MemberSet
from countersign.runtime.errors import OffContractError
from services.enrolment.model import Approval, Block, Confirmed, Decided, Member, MemberChanged, Profile
from services.enrolment.setup.decide import member_authorised

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import Role
    from services.enrolment.model import MemberNumbers, Number, OwnRequest

_RANK: dict[Role, int] = {"managed": 0, "owner": 1, "account_manager": 2}

# The number that a code goes to is chosen when its challenge opens, and a code lives at most 10 minutes (NIST SP
# 800-63B-4, 3.1.3.2; the verifier refuses to start with more). One more for transactions that were under way.
CODE_LOOKS_BACK = CODE_LIFE_MAX + timedelta(minutes=1)
_IAT_IS_WHOLE_SECONDS = timedelta(seconds=1)


def set_member(
    event: MemberSet,
    known: Member | None,
    *,
    needs_code: bool,
    approved: OwnRequest | None = None,
    staff_account_id: UUID | None = None,
) -> MemberChanged | None:
    """Return the member from now on, or None for old news.

    `needs_code` is what `needs_code` returned: then somebody new, back again or raised waits for an accepted code, and
    `approved` is the request whose grant came along and fits. Raises OffContractError for a user of another account,
    and for an account manager outside the staff account.
    """
    _same_account(event, known)
    if staff_account_id is not None and (event.role == "account_manager") != (event.account_id == staff_account_id):
        raise OffContractError("role: account_manager is for members of the staff account, and for all of them")
    if known is not None and event.version <= known.version:
        return None
    wanted = Profile(event.role, event.name, event.locale)
    held = known.profile if known is not None else None
    if needs_code and rises(held, event.role):
        if approved is None:
            removed = known is not None and known.removed
            waiting = Member(event.user_id, event.account_id, event.version, held, removed=removed, pending=wanted)
            return MemberChanged(waiting)
        return MemberChanged(Member(event.user_id, event.account_id, event.version, wanted), approved.request_id)
    return MemberChanged(Member(event.user_id, event.account_id, event.version, wanted))


def is_staff(event: MemberSet, staff_account_id: UUID | None, *, has_managers: bool) -> bool:
    """Return True if the set gives somebody a part in the staff account, whichever way it is known to be that."""
    return event.role == "account_manager" or event.account_id == staff_account_id or has_managers


def needs_code(event: MemberSet, staff_account_id: UUID | None, *, two_factor: bool, has_managers: bool) -> bool:
    """Return True if a set that gives more than somebody has waits for a code: protected accounts and all staff.

    `has_managers`: an account manager is a member of the account already. The first one is seeded by the operator:
    nobody is there who could enter a code.
    """
    return two_factor or is_staff(event, staff_account_id, has_managers=has_managers)


def remove_member(event: MemberRemoved, known: Member | None) -> MemberChanged | None:
    """Return the member as removed, also one never seen: an older set may still come. Raises OffContractError."""
    _same_account(event, known)
    if known is not None and event.version <= known.version:
        return None
    return MemberChanged(Member(event.user_id, event.account_id, event.version, None, removed=True))


def rises(held: Profile | None, wanted: Role) -> bool:
    """Say whether a set gives somebody more than they have: membership, or a higher role."""
    return held is None or _RANK[wanted] > _RANK[held.role]


def _same_account(event: MemberSet | MemberRemoved, known: Member | None) -> None:
    if known is not None and known.account_id != event.account_id:
        raise OffContractError("account_id: never changes for a user; came another than before")


def member_digest(request: OwnRequest, event: MemberSet) -> str:
    """Return what a manage_member grant must carry for this very set."""
    authorised = member_authorised(
        request.request_id,
        event.account_id,
        event.user_id,
        role=event.role,
        name=event.name,
        fingerprint=request.member_fingerprint,
    )
    return authorised_digest(authorised, request.summary)


def approves(approval: Approval, request: OwnRequest | None, event: MemberSet, approvers: Collection[UUID]) -> bool:
    """Return True if a grant is a code for this very set, asked for by this service and not spent yet.

    `approvers` are the members whose code counts: the account's owners, and for staff its account managers.
    """
    if request is None or request.spent:
        return False
    return (
        approval.request_id == request.request_id
        and approval.action == request.action == "manage_member"
        and approval.method == "sms"
        and approval.account_id == request.account_id == event.account_id
        and approval.user_id == request.user_id
        and approval.user_id in approvers
        and request.member_id == event.user_id
        and approval.digest == request.digest == member_digest(request, event)
        and request.req is not None
        and approval.req == request.req
    )


def close(event: AccessGranted | AccessDenied, request: OwnRequest | None) -> Literal["granted", "denied"] | None:
    """Return how an open request of this service ended, or None if it is none. Closing one gives nobody anything."""
    if request is None or not request.open:
        return None
    _match(event, request)
    return "granted" if isinstance(event, AccessGranted) else "denied"


def _match(event: AccessGranted | AccessDenied, request: OwnRequest) -> None:
    for name in ("account_id", "user_id", "action", "digest"):
        if getattr(event, name) != getattr(request, name):
            raise OffContractError(f"{name}: not that of the request")


def confirmed_by_own(request: OwnRequest, numbers: Sequence[Number]) -> Confirmed | None:
    """Return the given number that an accepted code of this confirm_number confirms, if it may be in force.

    The number in force is still the one that the user agreed to replace, when the request was made; None: there was
    none. So no code to a number that was merely given displaces one that the user proved to be theirs.
    """
    named = next((one for one in numbers if one.number_id == request.number_id and one.state == "provided"), None)
    in_force = next((one.number_id for one in numbers if one.state == "confirmed"), None)
    if named is None or in_force != request.old_number_id:
        return None
    return Confirmed(
        number_id=named.number_id,
        user_id=named.user_id,
        account_id=named.account_id,
        replaces=in_force,
        ip=request.ip,
    )


def _confirmed_by_grant(
    approval: Approval, request: OwnRequest | None, named: UUID | None, numbers: Sequence[Number]
) -> Confirmed | None:
    if request is None:
        found = confirmed_by(approval, named, numbers)
        if found is None:
            return None
        return Confirmed(number_id=found.number_id, user_id=found.user_id, account_id=found.account_id)
    own = (request.action, request.account_id, request.user_id, request.digest, request.req)
    if approval.method != "sms" or own != (
        "confirm_number",
        approval.account_id,
        approval.user_id,
        approval.digest,
        approval.req,
    ):
        return None
    return confirmed_by_own(request, numbers)


def confirmed_by(approval: Approval, named: UUID | None, numbers: Sequence[Number]) -> Number | None:
    """Return the given number that an accepted code of a login or an export confirms, if it is certain which.

    The grant signs that this user entered a code that was sent by SMS, and when; it does not sign the number. So the
    number comes from our own records: of all numbers of the user, the given one must be the only one that a code
    entered then can have gone to, none other having been theirs at any time in the life of a code before. Where there
    was another (one replaced a moment ago), nothing is confirmed; the next code will. The answer is the same however
    late the decision is read. `named`, the event's unsigned number_id, never brings a confirmation about; that it
    contradicts our records is a finding. Raises OffContractError.
    """
    if approval.method != "sms" or approval.action not in {"login", "export"}:
        return None
    entered = approval.issued_at + _IAT_IS_WHOLE_SECONDS
    opened = approval.issued_at - CODE_LOOKS_BACK
    reached = [number for number in numbers if _theirs_between(number, opened, entered)]
    if len(reached) != 1 or reached[0].state != "provided":
        return None
    if approval.account_id != reached[0].account_id:
        raise OffContractError("account_id: not that of the user")
    if named is not None and named != reached[0].number_id:
        raise OffContractError("number_id: not a number that a code of this user can have gone to")
    return reached[0]


def _theirs_between(number: Number, since: datetime, until: datetime) -> bool:
    return number.provided_at <= until and (number.ended_at is None or number.ended_at >= since)


def blocks(members: Sequence[MemberNumbers], members_need: Literal["given", "confirmed"]) -> list[Block]:
    """Return what stands in the way of turning two-factor on: nobody may be locked out by it.

    An owner's own number must be confirmed, everybody else's at least given (policy: confirmed as well).
    """
    found = [Block(None, "owner.missing")] if not any(member.role == "owner" for member in members) else []
    for member in members:
        if not (member.confirmed or member.given):
            found.append(Block(member.user_id, "number.missing"))
        elif not member.confirmed and (member.role == "owner" or members_need == "confirmed"):
            found.append(Block(member.user_id, "number.unconfirmed"))
    return found


def decided(
    event: AccessGranted | AccessDenied,
    approval: Approval | None,
    request: OwnRequest | None,
    numbers: Sequence[Number],
) -> Decided | None:
    """Return what a decision comes to here, or None. Raises OffContractError."""
    closes = close(event, request)
    confirms = None
    if isinstance(event, AccessGranted) and approval is not None:
        confirms = _confirmed_by_grant(approval, request, event.number_id, numbers)
    if closes is None and confirms is None:
        return None
    return Decided(
        request_id=event.request_id,
        account_id=event.account_id,
        user_id=event.user_id,
        closes=closes,
        confirms=confirms,
    )
