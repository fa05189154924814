"""Turning two-factor on, and members that an owner approves: who may, what blocks, and races that lock nobody out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import pytest_asyncio

from countersign.runtime.database.postgres import Link
from tests.services.enrolment.setting_up import NEW, OLD, THIRD, Home, a_home
from tests.support.enrolment import Desk
from tests.support.events import a_member_set

if TYPE_CHECKING:
    from tests.services.enrolment.conftest import Calls
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
ROUNDS = 50
MANAGED = 1_000


@pytest_asyncio.fixture(loop_scope="session")
async def home(desk: Desk, calls: Calls) -> Home:
    return await a_home(desk, calls)


async def test_one_save_confirms_the_owners_number_and_turns_it_on(home: Home) -> None:
    """Whether enrolment has read the decision before or not, the answer is the same; nothing happens twice."""
    await home.enter(home.owner_id, home.member_id, number=THIRD)
    _, asked = await home.enter(home.owner_id, home.owner_id, number=OLD)
    grant = await home.grant_of(asked["request_id"])
    assert (await home.turn_on(grant=grant))[0] == 200
    assert await home.read_grant(asked["request_id"]) == []
    assert (await home.turn_on(grant=grant))[0] == 200
    kinds = await home.changes()
    assert kinds == ["number.provided", "number.provided", "number.confirmed", "two_factor.enabled"]


async def test_save_names_whoever_would_be_locked_out(home: Home) -> None:
    """Nothing changes then."""
    status, problem = await home.turn_on()
    assert status == 409
    assert [(one["name"], one["reason"]) for one in problem["blocked_by"]] == [
        ("Olivia", "number.missing"),
        ("Ben", "number.missing"),
    ]
    await home.confirm(home.owner_id, OLD)
    status, problem = await home.turn_on()
    assert [(one["name"], one["reason"]) for one in problem["blocked_by"]] == [("Ben", "number.missing")]
    assert "two_factor.enabled" not in await home.changes()


async def test_no_user_turns_it_off_and_only_an_owner_on(home: Home) -> None:
    """By no body that the route takes."""
    await home.protect()
    for actor in (home.owner_id, home.member_id):
        status, problem = await home.call(
            "PUT", f"/v1/accounts/{home.account_id}/two-factor", actor=actor, enabled=False
        )
        assert (status, problem["type"]) == (403, "urn:countersign:problem:turning_off")
    other = await a_home(home.desk, home.calls)
    assert (await home.turn_on(actor=home.member_id))[0] == 403
    assert (await home.turn_on(actor=other.owner_id))[0] == 403


async def test_a_grant_of_another_member_confirms_nothing_of_the_owner(home: Home) -> None:
    """Nor does a grant of a login."""
    await home.enter(home.owner_id, home.member_id, number=THIRD)
    _, asked = await home.call("POST", f"/v1/users/{home.member_id}/number/confirmation", actor=home.member_id)
    status, problem = await home.turn_on(grant=await home.grant_of(asked["request_id"]))
    assert (status, problem["type"]) == (403, "urn:countersign:problem:grant_refused")


async def test_turning_on_keeps_the_places_that_were_ticked(home: Home, servers: Servers) -> None:
    """The others are forgotten, each by an event of its own."""
    kept, gone = "198.51.100.1/32", "198.51.100.2/32"
    await home.confirm(home.owner_id, OLD)
    await home.enter(home.owner_id, home.member_id, number=THIRD)
    link = Link(servers.dsn_of("risk_evaluator"), "risk_evaluator")
    async with link.use() as db:
        for place in (kept, gone):
            await db.execute(
                "INSERT INTO place (account_id, place, taught_by, first_used_at, last_used_at) "
                "VALUES ($1, $2::cidr, $3, now(), now())",
                home.account_id,
                place,
                home.owner_id,
            )
    await link.close()
    assert (await home.turn_on(keep_places=[kept]))[0] == 200
    rows = await home.desk.db.fetch(
        "SELECT kind, place FROM setting_change WHERE account_id = $1 ORDER BY version DESC LIMIT 2", home.account_id
    )
    assert [(row["kind"], row["place"]) for row in rows] == [("places.forgotten", gone), ("two_factor.enabled", None)]


async def test_a_member_added_later_waits_for_the_owners_code_and_brings_the_number(home: Home) -> None:
    """Without the grant the member is no row of protection; with it both are there at once."""
    await home.protect()
    new = a_member_set(account_id=home.account_id, role="managed", name="Clara")
    path = f"/v1/accounts/{home.account_id}/members"
    fields = {"user_id": new.user_id, "role": "managed", "name": "Clara", "number": NEW}
    status, asked = await home.call("POST", path, actor=home.owner_id, **fields)
    assert status == 202
    assert await home.desk.fold(new) == []
    assert await home.desk.protection(new.user_id) is None
    again = new.model_copy(update={"version": new.version + 1, "grant": await home.grant_of(asked["request_id"])})
    assert await home.desk.fold(again) == []
    protection = await home.desk.protection(new.user_id)
    assert protection is not None
    assert (protection["role"], protection["number_state"]) == ("managed", "provided")
    assert (await home.call("POST", path, actor=home.member_id, **fields))[0] == 403


async def test_account_managers_approve_their_colleagues_with_a_code(desk: Desk, calls: Calls) -> None:
    """In the staff account always, as nobody owns it; an account manager approves members of no other account."""
    staff = Home(desk, calls)
    await desk.db.execute("INSERT INTO account (account_id) VALUES ($1)", staff.account_id)
    await desk.db.execute(  # the first one is the operator's to seed: nobody is there who could enter a code
        "INSERT INTO member (user_id, account_id, version, role, name) VALUES ($1, $2, 1, 'account_manager', 'Dana')",
        staff.owner_id,
        staff.account_id,
    )
    await staff.confirm(staff.owner_id, OLD)
    new = a_member_set(account_id=staff.account_id, role="account_manager", name="Emil")
    fields = {"user_id": new.user_id, "role": "account_manager", "name": "Emil", "number": NEW}
    path = f"/v1/accounts/{staff.account_id}/members"
    status, asked = await staff.call("POST", path, actor=staff.owner_id, **fields)
    assert status == 202
    assert asked["request_id"] is not None
    assert await desk.fold(new) == []
    assert await desk.protection(new.user_id) is None
    again = new.model_copy(update={"version": new.version + 1, "grant": await staff.grant_of(asked["request_id"])})
    assert await desk.fold(again) == []
    protection = await desk.protection(new.user_id)
    assert protection is not None
    assert (protection["role"], protection["number_state"]) == ("account_manager", "provided")
    other = await a_home(desk, calls)
    theirs = f"/v1/accounts/{other.account_id}/members"
    assert (await other.call("POST", theirs, actor=staff.owner_id, **fields))[0] == 403
    assert (await staff.turn_on(actor=staff.owner_id))[0] == 403


async def test_without_two_factor_members_need_no_code(home: Home) -> None:
    """Said so: there is no request."""
    status, asked = await home.call(
        "POST",
        f"/v1/accounts/{home.account_id}/members",
        actor=home.owner_id,
        user_id=uuid4(),
        role="managed",
        name="C",
    )
    assert (status, asked) == (200, {"request_id": None})


async def test_turning_on_races_with_adding_a_member_and_locks_nobody_out(home: Home, servers: Servers) -> None:
    """Never a protected account with a member who has no number and whom no owner approved (M13)."""
    link = Link(servers.dsn_of("enrolment"), "enrolment")
    async with link.use() as db:
        adding = Desk(db, home.desk.grants, home.desk.signer)
        outcomes = set()
        for _ in range(ROUNDS):
            racing = await a_home(home.desk, home.calls)
            await racing.confirm(racing.owner_id, OLD)
            await racing.enter(racing.owner_id, racing.member_id, number=THIRD)
            new = a_member_set(account_id=racing.account_id, role="managed", name="Clara")
            (status, _), _ = await asyncio.gather(racing.turn_on(), adding.fold(new))
            protection = await home.desk.protection(new.user_id)
            assert status == (200 if protection is None else 409)
            outcomes.add(status)
    await link.close()
    assert outcomes <= {200, 409}


async def test_a_thousand_managed_users(home: Home) -> None:
    """Turning on is one transaction with a fixed number of statements, and names everybody who is missing."""
    await home.confirm(home.owner_id, OLD)
    await home.desk.db.execute(
        "INSERT INTO member (user_id, account_id, version, role, name) "
        "SELECT gen_random_uuid(), $1, 1, 'managed', 'User ' || n FROM generate_series(1, $2) AS n",
        home.account_id,
        MANAGED,
    )
    status, problem = await home.turn_on()
    assert (status, len(problem["blocked_by"])) == (409, MANAGED + 1)
    await home.desk.db.execute(
        "INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at) "
        "SELECT gen_random_uuid(), user_id, 'provided', '+61 ••••••••00', 'AU', 'x', 'k', 'f', now() "
        "  FROM member WHERE account_id = $1 AND role = 'managed'",
        home.account_id,
    )
    assert (await home.turn_on())[0] == 200
