"""Numbers: which an accepted code confirms, each limit from both sides, and what blocks turning on; without a fake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from countersign.runtime.errors import OffContractError
from services.enrolment import decide
from services.enrolment.model import Approval, Block, Confirmed, Decided, MemberNumbers, Number
from tests.support.events import an_access_denied, an_access_granted

ACCOUNT, USER, OWNER, OTHER = uuid4(), uuid4(), uuid4(), uuid4()
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def a_number(**over: Any) -> Number:
    fields: dict[str, Any] = {
        "number_id": uuid4(),
        "user_id": USER,
        "account_id": ACCOUNT,
        "state": "provided",
        "provided_at": NOON - timedelta(hours=1),
    }
    return Number(**(fields | over))


def a_login(**over: Any) -> Approval:
    fields: dict[str, Any] = {
        "request_id": uuid4(),
        "account_id": ACCOUNT,
        "user_id": USER,
        "action": "login",
        "digest": "A" * 43,
        "req": "R" * 43,
        "method": "sms",
        "issued_at": NOON,
    }
    return Approval(**(fields | over))


@pytest.mark.parametrize("action", ["login", "export"])
def test_the_first_accepted_code_confirms_the_only_number_it_can_have_gone_to(action: str) -> None:
    """Whether the unsigned number_id is there or not."""
    number = a_number()
    for named in (None, number.number_id):
        assert decide.confirmed_by(a_login(action=action), named, [number]) is number


@pytest.mark.parametrize(
    ("approval", "numbers"),
    [
        (a_login(method="none"), [a_number()]),
        (a_login(action="manage_member"), [a_number()]),
        (a_login(action="confirm_number"), [a_number()]),
        (a_login(), []),
        (a_login(), [a_number(state="confirmed")]),
        (a_login(), [a_number(state="replaced", ended_at=NOON + timedelta(seconds=5))]),
        (a_login(), [a_number(provided_at=NOON + timedelta(seconds=2))]),
    ],
)
def test_nothing_is_confirmed_without_a_code_to_a_given_number(approval: Approval, numbers: list[Number]) -> None:
    """No code, a code for something else, no number, one long confirmed, one gone, one given afterwards."""
    assert decide.confirmed_by(approval, None, numbers) is None


@pytest.mark.parametrize(
    ("state", "ended", "certain"),
    [
        ("confirmed", None, False),
        ("replaced", NOON, False),
        ("replaced", NOON - decide.CODE_LOOKS_BACK, False),
        ("replaced", NOON - decide.CODE_LOOKS_BACK - timedelta(microseconds=1), True),
        ("reset", NOON - timedelta(minutes=10), False),
        ("reset", NOON - timedelta(minutes=12), True),
    ],
)
def test_where_the_code_can_have_gone_to_another_number_nothing_is_confirmed(
    state: Any, ended: datetime | None, certain: bool
) -> None:
    """A given number never displaces a confirmed one, and an old number's code confirms no new number."""
    given = a_number(provided_at=NOON - timedelta(minutes=12))
    other = a_number(state=state, provided_at=NOON - timedelta(days=9), ended_at=ended)
    found = decide.confirmed_by(a_login(), given.number_id, [given, other])
    assert found == (given if certain else None)


def test_a_number_id_that_contradicts_our_records_is_a_finding() -> None:
    """It is not signed, so it confirms nothing by itself; nor is another account's grant taken."""
    with pytest.raises(OffContractError, match="number_id"):
        decide.confirmed_by(a_login(), uuid4(), [a_number()])
    with pytest.raises(OffContractError, match="account_id"):
        decide.confirmed_by(a_login(account_id=uuid4()), None, [a_number()])


def test_a_decision_of_no_concern_comes_to_nothing() -> None:
    """A denied login; a login whose user has nothing to confirm; and one that confirms."""
    number = a_number()
    login = an_access_granted(account_id=ACCOUNT, user_id=USER, number_id=number.number_id)
    assert decide.decided(an_access_denied(), None, None, [number]) is None
    assert decide.decided(login, a_login(), None, []) is None
    assert decide.decided(login, None, None, [number]) is None
    assert decide.decided(login, a_login(), None, [number]) == Decided(
        request_id=login.request_id,
        account_id=ACCOUNT,
        user_id=USER,
        confirms=Confirmed(number_id=number.number_id, user_id=USER, account_id=ACCOUNT),
    )


@pytest.mark.parametrize(
    ("members", "need", "found"),
    [
        ([], "given", [(None, "owner.missing")]),
        ([("owner", True, False)], "given", []),
        ([("owner", False, True)], "given", [(OWNER, "number.unconfirmed")]),
        ([("owner", False, False)], "given", [(OWNER, "number.missing")]),
        ([("owner", True, False), ("managed", False, False)], "given", [(OTHER, "number.missing")]),
        ([("owner", True, False), ("managed", False, True)], "given", []),
        ([("owner", True, False), ("managed", False, True)], "confirmed", [(OTHER, "number.unconfirmed")]),
        ([("owner", True, True), ("managed", True, False)], "confirmed", []),
        ([("managed", True, False)], "given", [(None, "owner.missing")]),
    ],
)
def test_turning_on_is_blocked_while_somebody_would_be_locked_out(
    members: list[tuple[Any, bool, bool]], need: Any, found: list[tuple[UUID | None, Any]]
) -> None:
    """M13: the owner's number confirmed, everybody else's given or, by policy, confirmed."""
    ids = {"owner": OWNER, "managed": OTHER}
    known = [MemberNumbers(ids[role], role, confirmed, given) for role, confirmed, given in members]
    assert decide.blocks(known, need) == [Block(*block) for block in found]
