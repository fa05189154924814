"""Whether an account manager may act, and what comes of it: each rule from both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.client import ManagerAct, manager_act_digest
from services.enrolment.model import Member, Profile
from services.enrolment.staff_acts.decide import ActRefusedError, judge_act
from services.enrolment.staff_acts.model import Facts

if TYPE_CHECKING:
    from countersign.client import ManagerActKind
    from countersign.contract import Role

STAFF, ACCOUNT = uuid4(), uuid4()
MANAGER = Member(uuid4(), STAFF, 1, Profile("account_manager", "Dana"))


def a_member(role: Role = "managed") -> Member:
    return Member(uuid4(), ACCOUNT, 1, Profile(role, "Max"))


FACTS = Facts(
    manager=MANAGER,
    staff_account_id=STAFF,
    account_id=ACCOUNT,
    two_factor=True,
    exports_held=True,
    target=a_member(),
)
COLLEAGUE = replace(FACTS, account_id=STAFF, target=Member(uuid4(), STAFF, 1, Profile("account_manager", "Emil")))
OWNER = replace(FACTS, target=a_member("owner"))


@pytest.mark.parametrize(
    ("kind", "facts", "outcome"),
    [
        ("two_factor.off", FACTS, "done"),
        ("exports.release", FACTS, "done"),
        ("exports.release", replace(FACTS, two_factor=False), "done"),
        ("number.reset", FACTS, "done"),
        ("number.reset", replace(FACTS, two_factor=False), "done"),
        ("number.reset", OWNER, "recorded"),
        ("number.reset", replace(OWNER, recorded=True), "done"),
        ("user.unlock", OWNER, "done"),
        ("user.unlock", COLLEAGUE, "done"),
    ],
)
def test_what_an_act_comes_to(kind: ManagerActKind, facts: Facts, outcome: str) -> None:
    """An owner's number takes two; everything else one."""
    assert judge_act(kind, facts) == outcome


REMOVED = replace(MANAGER, profile=None, removed=True)
NOT_STAFF = replace(MANAGER, account_id=ACCOUNT)
AN_OWNER = Member(uuid4(), STAFF, 1, Profile("owner", "Olga"))


@pytest.mark.parametrize("kind", ["two_factor.off", "exports.release", "number.reset", "user.unlock"])
@pytest.mark.parametrize("manager", [None, REMOVED, NOT_STAFF, AN_OWNER])
def test_only_account_managers_of_the_staff_account_act(kind: ManagerActKind, manager: Member | None) -> None:
    """As they are now, whatever they were when they asked."""
    with pytest.raises(ActRefusedError) as caught:
        judge_act(kind, replace(FACTS, manager=manager))
    assert caught.value.kind == "actor_not_allowed"


@pytest.mark.parametrize(
    ("kind", "facts", "refusal"),
    [
        ("user.unlock", replace(FACTS, wait=timedelta(minutes=4)), "too_many_acts"),
        ("two_factor.off", replace(FACTS, two_factor=False), "two_factor_off"),
        ("exports.release", replace(FACTS, exports_held=False), "nothing_held"),
        ("number.reset", replace(FACTS, target=None), "user_unknown"),
        ("user.unlock", replace(FACTS, target=replace(a_member(), profile=None)), "user_unknown"),
        ("user.unlock", replace(COLLEAGUE, target=MANAGER), "on_oneself"),
        ("number.reset", replace(COLLEAGUE, target=MANAGER, recorded=True), "on_oneself"),
        ("number.reset", replace(COLLEAGUE, recorded=True), "staff_account"),
        ("two_factor.off", COLLEAGUE, "staff_account"),
        ("exports.release", COLLEAGUE, "staff_account"),
    ],
)
def test_what_is_not_carried_out(kind: ManagerActKind, facts: Facts, refusal: str) -> None:
    """The word that the problem's type carries."""
    with pytest.raises(ActRefusedError) as caught:
        judge_act(kind, facts)
    assert caught.value.kind == refusal
    assert caught.value.wait == facts.wait


def an_act(**over: object) -> ManagerAct:
    fields: dict[str, object] = {
        "request_id": ACCOUNT,
        "kind": "number.reset",
        "target": STAFF,
        "reason": "lost phone",
        "ticket": "SUP-1",
    }
    return ManagerAct(**(fields | over))  # type: ignore[arg-type] # each is of its field's type


@pytest.mark.parametrize(
    "over",
    [
        {"request_id": STAFF},
        {"kind": "user.unlock"},
        {"target": ACCOUNT},
        {"anywhere": True},
        {"reason": "lost  phone"},
        {"ticket": "SUP-2"},
    ],
)
def test_another_act_has_another_digest(over: dict[str, object]) -> None:
    """Whatever of it is another."""
    assert manager_act_digest(an_act(**over)) != manager_act_digest(an_act())
    assert manager_act_digest(an_act()) == manager_act_digest(an_act())


@pytest.mark.parametrize("kind", ["two_factor.off", "exports.release", "number.reset", "user.unlock"])
def test_the_text_names_the_act_and_the_end_of_the_id(kind: ManagerActKind) -> None:
    """Ids of version 7 begin alike, so it is their end that tells them apart."""
    what = an_act(kind=kind).summary.what
    assert what is not None
    assert what.endswith(str(STAFF)[-8:])
    assert len(what) <= 60
