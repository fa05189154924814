"""Members: what is news, what waits for the owner's code, and which grant is that code; without a fake."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign.contract import Summary
from countersign.runtime.errors import OffContractError
from services.enrolment import decide
from services.enrolment.model import (
    Approval,
    Member,
    OwnRequest,
    Profile,
)
from tests.support.events import a_member_removed, a_member_set, an_access_denied, an_access_granted

if TYPE_CHECKING:
    from countersign.contract import AccessDenied, AccessGranted, MemberSet

ACCOUNT, USER, OWNER = uuid4(), uuid4(), uuid4()
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def a_set(**over: Any) -> MemberSet:
    return a_member_set(**({"account_id": ACCOUNT, "user_id": USER, "version": 5} | over))


def a_member(role: Any = "managed", **over: Any) -> Member:
    held = None if role is None else Profile(role, "Ada Byron", "en")
    return replace(Member(USER, ACCOUNT, 4, held), **over)


def a_request(event: MemberSet, **over: Any) -> OwnRequest:
    """Return the manage_member request that `event` was asked for with, its digest right unless it is given."""
    made = OwnRequest(
        request_id=uuid4(),
        account_id=ACCOUNT,
        user_id=OWNER,
        action="manage_member",
        digest="",
        req="R" * 43,
        summary=Summary(what=event.name),
        member_id=event.user_id,
    )
    changed = replace(made, **over)
    return changed if "digest" in over else replace(changed, digest=decide.member_digest(changed, event))


def an_approval(request: OwnRequest, **over: Any) -> Approval:
    fields: dict[str, Any] = {
        "request_id": request.request_id,
        "account_id": request.account_id,
        "user_id": request.user_id,
        "action": request.action,
        "digest": request.digest,
        "req": request.req,
        "method": "sms",
        "issued_at": NOON,
    }
    return Approval(**(fields | over))


@pytest.mark.parametrize(
    ("known", "version", "applied"),
    [
        (None, 1, True),
        (a_member(), 5, True),
        (a_member(), 4, False),
        (a_member(), 3, False),
        (a_member(None, removed=True), 5, True),
        (a_member(None, removed=True), 4, False),
        (a_member(None, removed=True), 3, False),
    ],
)
def test_only_a_higher_version_is_news(known: Member | None, version: int, applied: bool) -> None:
    """For sets and removals alike, after a removal too."""
    changed = decide.set_member(a_set(version=version), known, needs_code=False)
    assert (changed is not None) is applied
    removed = decide.remove_member(a_member_removed(account_id=ACCOUNT, user_id=USER, version=version), known)
    assert (removed is not None) is applied
    if removed is not None:
        assert removed.member == Member(USER, ACCOUNT, version, None, removed=True)


@pytest.mark.parametrize("version", [1, 4, 9])
def test_a_user_never_moves_to_another_account(version: int) -> None:
    """Old news or not: it is a conflict."""
    with pytest.raises(OffContractError, match="account_id"):
        decide.set_member(a_set(account_id=uuid4(), version=version), a_member(), needs_code=False)
    with pytest.raises(OffContractError, match="account_id"):
        decide.remove_member(a_member_removed(user_id=USER, version=version), a_member())


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [
        (None, "managed", True),
        (None, "owner", True),
        ("managed", "managed", False),
        ("managed", "owner", True),
        ("managed", "account_manager", True),
        ("owner", "managed", False),
        ("owner", "owner", False),
        ("owner", "account_manager", True),
        ("account_manager", "owner", False),
    ],
)
def test_on_a_protected_account_what_gives_more_waits_for_the_owners_code(held: Any, wanted: Any, waits: bool) -> None:
    """Adding, re-adding and raising; not renaming and lowering. Where no code is needed, nothing waits."""
    event, known = a_set(role=wanted), a_member(held)
    changed = decide.set_member(event, known, needs_code=True)
    assert changed is not None
    asked = Profile(event.role, event.name, event.locale)
    if waits:
        assert changed.member == Member(USER, ACCOUNT, 5, known.profile, pending=asked)
    else:
        assert changed.member == Member(USER, ACCOUNT, 5, asked)
    off = decide.set_member(event, known, needs_code=False)
    assert off is not None
    assert off.member == Member(USER, ACCOUNT, 5, asked)


def test_an_approved_set_is_applied_and_spends_its_grant() -> None:
    """And clears what waited; where no approval is needed, none is spent."""
    event = a_set()
    request = a_request(event)
    known = a_member(None, removed=True, pending=Profile("managed", "Ada Byron"))
    changed = decide.set_member(event, known, needs_code=True, approved=request)
    assert changed is not None
    assert changed.member == Member(USER, ACCOUNT, 5, Profile("managed", event.name, event.locale))
    assert changed.spent == request.request_id
    renamed = decide.set_member(event, a_member(), needs_code=True, approved=request)
    assert renamed is not None
    assert renamed.spent is None


def test_a_removed_member_who_waits_is_still_removed() -> None:
    """What waits is no membership."""
    changed = decide.set_member(a_set(), a_member(None, removed=True), needs_code=True)
    assert changed is not None
    assert changed.member.removed
    assert changed.member.profile is None


@pytest.mark.parametrize(
    ("role", "in_staff", "taken"),
    [
        ("account_manager", True, True),
        ("account_manager", False, False),
        ("owner", True, False),
        ("owner", False, True),
    ],
)
def test_account_managers_are_the_members_of_the_staff_account(role: Any, in_staff: bool, taken: bool) -> None:
    """Nobody becomes one elsewhere, whoever says so."""
    staff = ACCOUNT if in_staff else uuid4()
    if taken:
        assert decide.set_member(a_set(role=role), None, needs_code=False, staff_account_id=staff) is not None
    else:
        with pytest.raises(OffContractError, match="role"):
            decide.set_member(a_set(role=role), None, needs_code=False, staff_account_id=staff)


@pytest.mark.parametrize(
    ("role", "staff_account_id", "two_factor", "has_managers", "needed"),
    [
        ("owner", None, False, False, False),
        ("owner", uuid4(), False, False, False),
        ("owner", None, True, False, True),
        ("account_manager", None, False, False, True),
        ("account_manager", ACCOUNT, False, False, True),
        ("managed", ACCOUNT, False, False, True),
        ("owner", None, False, True, True),
    ],
)
def test_membership_of_staff_always_needs_a_code(
    role: Any, staff_account_id: Any, two_factor: bool, has_managers: bool, needed: bool
) -> None:
    """However the staff account is known: by the setting, the role or its members; two-factor on or off."""
    event = a_set(role=role)
    found = decide.needs_code(event, staff_account_id, two_factor=two_factor, has_managers=has_managers)
    assert found is needed


def test_the_grant_of_this_very_set_approves_it() -> None:
    """With and without a number given for the new member."""
    event = a_set()
    for fingerprint in (None, b"f" * 32):
        request = a_request(event, member_fingerprint=fingerprint)
        assert decide.approves(an_approval(request), request, event, {OWNER})


@pytest.mark.parametrize(
    "over",
    [
        {"request_id": uuid4()},
        {"account_id": uuid4()},
        {"user_id": uuid4()},
        {"action": "login"},
        {"action": "manager_act"},
        {"digest": "A" * 43},
        {"method": "none"},
    ],
)
def test_a_grant_of_something_else_approves_nothing(over: dict[str, Any]) -> None:
    """Each claim counts."""
    event = a_set()
    request = a_request(event)
    assert not decide.approves(an_approval(request, **over), request, event, {OWNER, uuid4()})


@pytest.mark.parametrize(
    "over",
    [
        {"spent": True},
        {"member_id": uuid4()},
        {"member_id": None},
        {"account_id": uuid4()},
        {"action": "change_number"},
        {"digest": "A" * 43},
    ],
)
def test_a_request_that_does_not_fit_approves_nothing(over: dict[str, Any]) -> None:
    """The grant is right, our own record says otherwise: spent, for another member, with other contents."""
    event = a_set()
    request = a_request(event, **over)
    assert not decide.approves(an_approval(request), request, event, {OWNER})


@pytest.mark.parametrize("over", [{"role": "owner"}, {"name": "Mallory"}, {"user_id": uuid4()}])
def test_a_set_that_differs_from_what_was_approved_waits(over: dict[str, Any]) -> None:
    """The owner's text named this member, role and name."""
    request = a_request(a_set())
    assert not decide.approves(an_approval(request), request, a_set(**over), {OWNER})


def test_only_an_owner_of_now_approves() -> None:
    """One who is no owner any more does not, and a request that is not ours does nothing."""
    event = a_set()
    request = a_request(event)
    assert not decide.approves(an_approval(request), request, event, {uuid4()})
    assert not decide.approves(an_approval(request), None, event, {OWNER})


def the_decision_on(request: OwnRequest, *, granted: bool, **over: Any) -> AccessGranted | AccessDenied:
    names = ("request_id", "account_id", "user_id", "action", "digest")
    fields = {name: getattr(request, name) for name in names} | over
    return an_access_granted(**fields) if granted else an_access_denied(**fields)


@pytest.mark.parametrize("granted", [True, False])
def test_a_decision_closes_the_request_it_is_about(granted: bool) -> None:
    """Once; a request of another service is none of ours."""
    request = a_request(a_set())
    event = the_decision_on(request, granted=granted)
    assert decide.close(event, request) == ("granted" if granted else "denied")
    assert decide.close(event, replace(request, open=False)) is None
    assert decide.close(event, None) is None


@pytest.mark.parametrize(
    "over", [{"account_id": uuid4()}, {"user_id": uuid4()}, {"action": "login"}, {"digest": "A" * 43}]
)
def test_a_decision_on_something_else_under_the_same_id_is_a_conflict(over: dict[str, Any]) -> None:
    """The same key with another fingerprint."""
    request = a_request(a_set())
    with pytest.raises(OffContractError, match=next(iter(over))):
        decide.close(the_decision_on(request, granted=True, **over), request)
