"""Members by version on a real PostgreSQL: late, twice, in any order, by two owners of a partition at once."""

from __future__ import annotations

import asyncio
from itertools import permutations
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from countersign.runtime.database.postgres import Link
from services.enrolment import overview, store
from tests.support.enrolment import Desk, fold_batch
from tests.support.events import a_member_removed, a_member_set, incoming

if TYPE_CHECKING:
    from countersign.contract import MemberSet
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


def a_set(account_id: UUID, user_id: UUID, version: int, **over: Any) -> MemberSet:
    return a_member_set(account_id=account_id, user_id=user_id, version=version, **over)


async def test_a_set_makes_a_row_of_protection_and_an_old_version_changes_nothing(desk: Desk) -> None:
    """The newest version stands."""
    account_id, user_id = uuid4(), uuid4()
    assert await desk.fold(a_set(account_id, user_id, 3, role="owner")) == []
    row = await desk.protection(user_id)
    assert row == {
        "account_id": account_id,
        "user_id": user_id,
        "role": "owner",
        "two_factor": False,
        "number_id": None,
        "number_state": None,
        "number_hint": None,
        "exports_held_until": None,
        "unlocked_at": None,
    }
    before = await desk.stored(account_id)
    await desk.fold(a_set(account_id, user_id, 2, role="managed"))
    await desk.fold(a_set(account_id, user_id, 3, role="managed"))
    await desk.fold(a_member_removed(account_id=account_id, user_id=user_id, version=1))
    assert await desk.stored(account_id) == before


async def test_a_removal_overtaken_by_an_older_set_stays_removed(desk: Desk) -> None:
    """Also for a user who was never seen before."""
    account_id, user_id = uuid4(), uuid4()
    await desk.fold(a_member_removed(account_id=account_id, user_id=user_id, version=7))
    await desk.fold(a_set(account_id, user_id, 6))
    assert await desk.protection(user_id) is None
    await desk.fold(a_set(account_id, user_id, 8))
    assert await desk.protection(user_id) is not None


async def test_a_user_of_another_account_is_a_dead_letter(desk: Desk) -> None:
    """And the account that was first keeps the user, whatever the version."""
    account_id, owner_id = await desk.account()
    causes = await desk.fold(
        a_set(uuid4(), owner_id, 9), a_member_removed(account_id=uuid4(), user_id=owner_id, version=10)
    )
    assert causes == ["account_id: never changes for a user; came another than before"] * 2
    row = await desk.protection(owner_id)
    assert row is not None
    assert row["account_id"] == account_id


async def test_every_order_of_a_batch_ends_the_same(desk: Desk) -> None:
    """All at once or one by one: no correctness depends on the order."""
    for order in permutations(range(4)):
        account_id, user_id = uuid4(), uuid4()
        events = [
            a_set(account_id, user_id, 1, role="owner"),
            a_member_removed(account_id=account_id, user_id=user_id, version=2),
            a_set(account_id, user_id, 3, role="managed", name="Three"),
            a_set(account_id, user_id, 3, role="managed", name="Three"),
        ]
        await desk.fold(*[events[index] for index in order])
        row = await desk.db.fetchrow("SELECT version, role, name FROM member WHERE user_id = $1", user_id)
        assert dict(row or {}) == {"version": 3, "role": "managed", "name": "Three"}, order


async def test_numbers_survive_a_removal(desk: Desk) -> None:
    """So does the hold; the number is no row of protection meanwhile, and in force again afterwards."""
    account_id, _ = await desk.account()
    user_id = uuid4()
    await desk.fold(a_set(account_id, user_id, 1))
    number_id = await desk.add_number(user_id, "confirmed")
    await desk.db.execute("UPDATE member SET exports_held_until = now() + interval '1 day' WHERE user_id = $1", user_id)
    before = await desk.protection(user_id)
    await desk.fold(a_member_removed(account_id=account_id, user_id=user_id, version=2))
    assert await desk.protection(user_id) is None
    await desk.fold(a_set(account_id, user_id, 3))
    assert before is not None
    assert before["number_id"] == number_id
    assert before["exports_held_until"] is not None
    assert await desk.protection(user_id) == before


async def test_the_number_in_force_goes_before_the_given_one(desk: Desk) -> None:
    """A given number never displaces a confirmed one; the later hold of account and member counts."""
    _, user_id = await desk.account()
    given = await desk.add_number(user_id, "provided")
    row = await desk.protection(user_id)
    assert row is not None
    assert (row["number_id"], row["number_state"], row["number_hint"]) == (given, "provided", "+61 ••••••••06")
    confirmed = await desk.add_number(user_id, "confirmed")
    row = await desk.protection(user_id)
    assert row is not None
    assert (row["number_id"], row["number_state"]) == (confirmed, "confirmed")


async def test_on_a_protected_account_a_member_waits_for_the_owners_code(desk: Desk) -> None:
    """No row of protection; the GET shows it; with the grant of the owner's code it is a member, once."""
    account_id, owner_id = await desk.account(two_factor=True)
    user_id = uuid4()
    await desk.fold(a_set(account_id, user_id, 1, name="Mallory"))
    assert await desk.protection(user_id) is None
    seen = await overview.see(desk.db, account_id, "given")
    assert seen is not None
    assert [(one.user_id, one.role, one.name) for one in seen.pending_members] == [(user_id, "managed", "Mallory")]
    assert [one.user_id for one in seen.members] == [owner_id]

    approved = await desk.ask_for(a_set(account_id, user_id, 2, name="Ada"), owner_id)
    assert await desk.fold(approved) == []
    row = await desk.protection(user_id)
    assert row is not None
    assert row["two_factor"] is True
    seen = await overview.see(desk.db, account_id, "given")
    assert seen is not None
    assert seen.pending_members == []

    await desk.fold(a_member_removed(account_id=account_id, user_id=user_id, version=3))
    await desk.fold(approved.model_copy(update={"version": 4}))
    assert await desk.protection(user_id) is None, "a grant is spent once"


async def test_a_role_that_was_not_approved_is_not_held(desk: Desk) -> None:
    """The member stays what they were; lowering and renaming wait for nobody."""
    account_id, owner_id = await desk.account()
    user_id = uuid4()
    await desk.fold(a_set(account_id, user_id, 1))
    await desk.db.execute("UPDATE account SET two_factor = true WHERE account_id = $1", account_id)
    await desk.fold(a_set(account_id, user_id, 2, role="owner"))
    row = await desk.protection(user_id)
    assert row is not None
    assert row["role"] == "managed"
    await desk.fold(a_set(account_id, user_id, 3, name="Another Name"))
    name, pending = await desk.db.fetchrow("SELECT name, pending_role FROM member WHERE user_id = $1", user_id)
    assert (name, pending) == ("Another Name", None)
    assert await desk.fold(await desk.ask_for(a_set(account_id, user_id, 4, role="owner"), owner_id)) == []
    row = await desk.protection(user_id)
    assert row is not None
    assert row["role"] == "owner"


@pytest.mark.parametrize("way", ["new", "raised", "back again", "another account"])
async def test_nobody_becomes_an_account_manager_without_a_code(desk: Desk, way: str) -> None:
    """A member_set alone gives no role, with two-factor off too: not to somebody new, raised, back, or elsewhere."""
    staff_id, manager_id = await desk.account()
    await desk.db.execute("UPDATE member SET role = 'account_manager' WHERE user_id = $1", manager_id)
    user_id, account_id = uuid4(), uuid4() if way == "another account" else staff_id
    if way == "raised":
        account_id = uuid4()
        await desk.fold(a_set(account_id, user_id, 1, role="owner"))
    if way == "back again":
        user_id = manager_id
        await desk.fold(a_member_removed(account_id=staff_id, user_id=manager_id, version=8))
    await desk.fold(a_set(account_id, user_id, 9, role="account_manager", name="Mallory"))
    row = await desk.protection(user_id)
    assert (row and row["role"]) == ("owner" if way == "raised" else None)
    assert await desk.db.fetchval("SELECT pending_role FROM member WHERE user_id = $1", user_id) == "account_manager"


@pytest.mark.parametrize("role", ["owner", "managed"])
async def test_nobody_joins_the_account_of_the_account_managers_without_a_code(desk: Desk, role: Any) -> None:
    """Under another role either, where no setting names the staff account."""
    staff_id, manager_id = await desk.account()
    await desk.db.execute("UPDATE member SET role = 'account_manager' WHERE user_id = $1", manager_id)
    user_id = uuid4()
    await desk.fold(a_set(staff_id, user_id, 1, role=role))
    assert await desk.protection(user_id) is None


async def test_an_account_manager_is_approved_by_an_account_managers_code(desk: Desk) -> None:
    """By nobody else's: an owner cannot make an account manager of a member."""
    account_id, owner_id = await desk.account()
    user_id = uuid4()
    await desk.fold(await desk.ask_for(a_set(account_id, user_id, 1, role="account_manager"), owner_id))
    assert await desk.protection(user_id) is None
    staff_id, manager_id = await desk.account()
    await desk.db.execute("UPDATE member SET role = 'account_manager' WHERE user_id = $1", manager_id)
    colleague_id = uuid4()
    await desk.fold(await desk.ask_for(a_set(staff_id, colleague_id, 1, role="account_manager"), manager_id))
    row = await desk.protection(colleague_id)
    assert row is not None
    assert row["role"] == "account_manager"


@pytest.mark.parametrize("over", [{"action": "login"}, {"aud": "elsewhere"}, {"digest": "A" * 43}, {"amr": []}])
async def test_a_grant_that_does_not_fit_leaves_the_member_waiting(desk: Desk, over: dict[str, Any]) -> None:
    """Of another action, audience or content, or without a code."""
    account_id, owner_id = await desk.account(two_factor=True)
    user_id = uuid4()
    await desk.fold(await desk.ask_for(a_set(account_id, user_id, 1), owner_id, **over))
    assert await desk.protection(user_id) is None
    assert await desk.db.fetchval("SELECT pending_role FROM member WHERE user_id = $1", user_id) == "managed"


async def test_a_forged_grant_leaves_the_member_waiting(desk: Desk) -> None:
    """Signed by somebody else under the verifier's key id, cut short, or no grant at all."""
    account_id, owner_id = await desk.account(two_factor=True)
    real = desk.signer
    for forge in ("another key", "cut", "nonsense"):
        user_id = uuid4()
        if forge == "another key":
            desk.signer = type(real)()
        event = await desk.ask_for(a_set(account_id, user_id, 1), owner_id)
        desk.signer = real
        grant = {"another key": event.grant, "cut": (event.grant or "")[:-9], "nonsense": "a.b.c"}[forge]
        assert await desk.fold(event.model_copy(update={"grant": grant})) == []
        assert await desk.protection(user_id) is None


async def test_a_member_added_while_two_factor_is_turned_on_waits_for_the_lock(desk: Desk, servers: Servers) -> None:
    """M13: turning on races with adding a user and never loses; the setting as it came to be counts."""
    account_id, _ = await desk.account()
    user_id = uuid4()
    link = Link(servers.dsn_of("enrolment"), "enrolment")
    async with link.use() as other:
        async with other.transaction():
            await store.lock_accounts(other, [account_id], make=False)
            folding = asyncio.ensure_future(desk.fold(a_set(account_id, user_id, 1)))
            await asyncio.sleep(0.2)
            assert not folding.done()
            await other.execute("UPDATE account SET two_factor = true WHERE account_id = $1", account_id)
        await folding
    await link.close()
    assert await desk.protection(user_id) is None


async def test_two_owners_of_a_partition_fold_the_same_batch_in_opposite_order(desk: Desk, servers: Servers) -> None:
    """No deadlock, and the same end: 20 rounds of 40 members of 10 accounts."""
    link = Link(servers.dsn_of("enrolment"), "enrolment")
    async with link.use() as other:
        for _ in range(20):
            accounts = [uuid4() for _ in range(10)]
            batch = [
                incoming(a_set(account_id, user_id, version, name=f"v{version}"))
                for account_id in accounts
                for user_id in (uuid4(), uuid4())
                for version in (1, 2)
            ]
            await asyncio.gather(fold_batch(desk.db, desk.members, batch), fold_batch(other, desk.members, batch[::-1]))
            rows = await desk.db.fetch("SELECT version, name FROM member WHERE account_id = ANY($1)", accounts)
            assert [tuple(row) for row in rows] == [(2, "v2")] * 20
    await link.close()
