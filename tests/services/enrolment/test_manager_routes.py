"""What account managers do, on real servers: each act, its limits, and what is kept of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from services.enrolment import changes
from tests.services.enrolment.office import CLIENT, Office, an_office

if TYPE_CHECKING:
    from countersign.client import ManagerActKind
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def office(desk: Desk, calls: Calls) -> Office:
    """Make the staff account, and a customer's."""
    return await an_office(desk, calls)


async def test_turning_off(office: Office, servers: Servers) -> None:
    """Off, said with who, why and from where, and exports are held for the policy's time."""
    act = office.act("two_factor.off", office.account_id)
    assert await office.call(act) == (200, {"done": True})
    seen = await office.see()
    assert seen["two_factor"] is False
    assert seen["exports_held_until"] is not None
    (change,) = [link.change for link in await changes.links_of(office.desk.db, office.account_id)][-1:]
    assert (change.kind, change.actor.kind, change.actor.id) == (
        "two_factor.disabled",
        "account_manager",
        str(office.manager_id),
    )
    assert (change.reason, change.ticket, change.ip) == (act.reason, act.ticket, CLIENT["ip"])
    assert (await office.told(servers))[-1] == "countersign.two_factor.disabled.v1"
    again = office.act("two_factor.off", office.account_id)
    status, problem = await office.call(again)
    assert (status, problem["type"]) == (409, "urn:countersign:problem:two_factor_off")


async def test_resetting_a_managed_users_number(office: Office, servers: Servers) -> None:
    """Both numbers end, exports are held, and for a day the user may enter another; once confirmed that is over."""
    given = await office.desk.add_number(office.user_id, "provided")
    in_force = UUID((await office.member(office.user_id))["number"]["number_id"])
    act = office.act("number.reset", office.user_id, anywhere=True)
    assert await office.call(act) == (200, {"done": True})
    member = await office.member(office.user_id)
    assert (member["number"], member["given_number"]) == (None, None)
    assert member["exports_held_until"] is not None
    assert member["reset"]["anywhere"] is True
    opened = await office.desk.db.fetchrow("SELECT * FROM open_reset WHERE user_id = $1", office.user_id)
    assert opened is not None
    assert opened["until"] - opened["at"] == timedelta(hours=24)
    assert (await office.told(servers))[-1] == "countersign.number.reset.v1"
    change = (await changes.links_of(office.desk.db, office.account_id))[-1].change
    assert (change.user_id, change.old_number_id, change.number_id) == (office.user_id, in_force, given)
    await office.desk.add_number(office.user_id, "confirmed")
    assert (await office.member(office.user_id))["reset"] is None
    assert await office.desk.db.fetchval("SELECT count(*) FROM open_reset WHERE user_id = $1", office.user_id) == 0


async def test_releasing_held_exports(office: Office, servers: Servers) -> None:
    """Of the account and of everybody in it, and the auditors are told."""
    none = office.act("exports.release", office.account_id)
    status, problem = await office.call(none)
    assert (status, problem["type"]) == (409, "urn:countersign:problem:nothing_held")
    await office.call(office.act("number.reset", office.user_id))
    await office.call(office.act("two_factor.off", office.account_id))
    assert await office.call(office.act("exports.release", office.account_id)) == (200, {"done": True})
    row = await office.desk.protection(office.user_id)
    assert row is not None
    assert row["exports_held_until"] is None
    assert (await office.told(servers))[-1] == "countersign.exports.released.v1"


async def test_unlocking(office: Office, servers: Servers) -> None:
    """The verifier's view says since when failures count anew."""
    assert await office.call(office.act("user.unlock", office.owner_id)) == (200, {"done": True})
    row = await office.desk.protection(office.owner_id)
    assert row is not None
    assert row["unlocked_at"] is not None
    assert (await office.member(office.owner_id))["unlocked_at"] is not None
    assert (await office.told(servers))[-1] == "countersign.user.unlocked.v1"


async def test_an_owner_is_reset_by_two(office: Office, servers: Servers) -> None:
    """The same manager twice is one; another ticket, another choice of places, or a day later is another reset."""

    async def reset(manager_id: UUID, **over: Any) -> tuple[int, Any]:
        act = office.act("number.reset", office.owner_id, **over)
        return await office.call(act, office.grant_of(act, manager_id))

    recorded = (202, {"done": False, "needs": "second_manager"})
    assert await reset(office.manager_id) == recorded
    assert await reset(office.manager_id) == recorded
    assert await reset(office.second_id, ticket="SUP-2") == recorded
    assert await reset(office.second_id, anywhere=True) == recorded
    assert (await office.member(office.owner_id))["number"] is not None
    assert (await office.told(servers))[-1] == "countersign.number.reset_recorded.v1"
    await office.age_acts(timedelta(hours=24))
    assert await reset(office.second_id) == recorded
    assert await reset(office.manager_id) == (200, {"done": True})
    member = await office.member(office.owner_id)
    assert (member["number"], member["reset"]["anywhere"]) == (None, False)
    assert (await office.told(servers))[-1] == "countersign.number.reset.v1"
    # Carried out is carried out: the first act lets no third one through.
    assert await reset(office.manager_id) == recorded


async def test_the_eleventh_act_of_an_hour(office: Office) -> None:
    """Ten are carried out; the next waits, the log raises the alarm, and another manager goes on."""
    for _ in range(10):
        assert (await office.call(office.act("user.unlock", office.user_id)))[0] == 200
    act = office.act("user.unlock", office.user_id)
    grant = office.grant_of(act)
    with capture_logs() as logs:
        status, problem = await office.call(act, grant)
    assert (status, problem["type"]) == (429, "urn:countersign:problem:too_many_acts")
    alarms = [(one["log_level"], one["manager_id"]) for one in logs if one["event"] == "manager_acts_exceeded"]
    assert alarms == [("error", str(office.manager_id))]
    other = office.act("user.unlock", office.user_id)
    assert (await office.call(other, office.grant_of(other, office.second_id)))[0] == 200
    await office.age_acts(timedelta(hours=1))
    assert (await office.call(act, grant))[0] == 200  # what was refused spent nothing


async def test_what_was_done(office: Office) -> None:
    """Newest first, of one manager or of all; only who may read it sees it."""
    for kind, target in (("user.unlock", office.user_id), ("number.reset", office.owner_id)):
        await office.call(office.act(kind, target))  # type: ignore[arg-type] # both are kinds
    url = f"{office.calls.url}/v1/manager/acts?manager_id={office.manager_id}"
    async with office.calls.session.get(url, headers=office.calls.gateway) as answer:
        acts = (await answer.json())["acts"]
    assert [(one["kind"], one["outcome"], one["user_id"]) for one in acts] == [
        ("number.reset", "recorded", str(office.owner_id)),
        ("user.unlock", "done", str(office.user_id)),
    ]
    assert {one["ticket"] for one in acts} == {"SUP-1042"}
    async with office.calls.session.get(url, headers=office.calls.stranger) as answer:
        assert answer.status == 403


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
        ({"ticket": ""}, "ticket"),
        ({"ticket": "x" * 101}, "ticket"),
        ({"ticket": "a\nb"}, "ticket"),
        ({"client": None}, "client"),
        ({"user_id": "x"}, "user_id"),
    ],
)
async def test_bad_input_is_said_by_field(office: Office, over: dict[str, Any], field: str) -> None:
    """Before anything of the grant is looked at."""
    status, problem = await office.call(office.act("user.unlock", office.user_id), **over)
    assert status == 422
    assert field in problem["detail"]


@pytest.mark.parametrize("query", ["?anywhere=false", "?anywhere=true&anywhere=true", "?x=1", "?Anywhere=true"])
async def test_the_query_has_one_spelling(office: Office, query: str) -> None:
    """Otherwise one act had two."""
    act = office.act("number.reset", office.user_id)
    headers = {"Authorization": f"Bearer {office.grant_of(act)}"}
    body = {"reason": act.reason, "ticket": act.ticket, "client": CLIENT}
    assert (await office.post(act.route + query, body, headers))[0] == 400


@pytest.mark.parametrize("kind", ["two_factor.off", "exports.release", "number.reset", "user.unlock"])
async def test_nobody_there(office: Office, kind: ManagerActKind) -> None:
    """A grant for an account or a user that is not known."""
    assert (await office.call(office.act(kind, uuid4())))[0] == 404
