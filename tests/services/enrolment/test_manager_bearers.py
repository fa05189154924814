"""Every bearer that is not the grant of this very act opens nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import pytest_asyncio

from countersign.contract import Client, Summary, req_of
from countersign.runtime.messages.cloudevents import value_of
from tests.services.enrolment.office import CLIENT, REQUESTS, Office, an_office, refused
from tests.support.events import clock
from tests.support.grants import Signer

if TYPE_CHECKING:
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk

pytestmark = pytest.mark.servers
SOMEBODY = UUID(int=7)  # nobody of these tests; the names of tests are the same in every worker


@pytest_asyncio.fixture(loop_scope="session")
async def office(desk: Desk, calls: Calls) -> Office:
    """Make the staff account, and a customer's."""
    return await an_office(desk, calls)


async def test_a_grant_is_spent_once(office: Office) -> None:
    """The second time it is refused, and the answer says what the first one came to."""
    act = office.act("user.unlock", office.user_id)
    grant = office.grant_of(act)
    assert await office.call(act, grant) == (200, {"done": True})
    before = await office.desk.stored(office.account_id)
    status, problem = await office.call(act, grant)
    assert (status, problem["type"], problem["spent_as"]) == (403, "urn:countersign:problem:grant_refused", "done")
    assert await office.desk.stored(office.account_id) == before


NOT_THIS_ACT = {
    "another's reason": {"reason": "because"},
    "another's ticket": {"ticket": "SUP-9"},
    "another address": {"client": {"ip": "203.0.113.8", "locale": "en"}},
    "another language": {"client": {"ip": "203.0.113.7", "locale": "de"}},
}


@pytest.mark.parametrize("over", NOT_THIS_ACT.values(), ids=NOT_THIS_ACT)
async def test_what_is_said_is_what_was_approved(office: Office, over: dict[str, Any]) -> None:
    """Word for word, and by the request that was judged, byte for byte."""
    await refused(office, office.act("user.unlock", office.user_id), **over)


@pytest.mark.parametrize(
    "over",
    [
        {"aud": "another"},
        {"iss": "another"},
        {"action": "login"},
        {"action": "manage_member"},
        {"amr": []},
        {"exp": 1_700_000_000},
        {"now": "tomorrow"},
        {"req": None},
        {"req": "A" * 43},
        {"digest": "A" * 43},
        {"account_id": SOMEBODY},
        {"user_id": SOMEBODY},
        {"request_id": SOMEBODY},
    ],
    ids=repr,
)
async def test_any_other_grant_is_refused(office: Office, over: dict[str, Any]) -> None:
    """Of another action, audience, time, account, user, digest or request, or without a code."""
    if over.get("now") == "tomorrow":
        over = {"now": clock() + timedelta(days=1)}
    act = office.act("two_factor.off", office.account_id)
    await refused(office, act, office.grant_of(act, **over))


async def test_another_key_signs_nothing(office: Office) -> None:
    """A forger's signature under the verifier's key id, and under an id that nobody publishes."""
    act = office.act("two_factor.off", office.account_id)
    signer, genuine = Signer(), office.desk.signer
    for key_id in (genuine.key_id, "grant-9"):
        office.desk.signer = Signer(key_id, signer.private)
        forged = office.grant_of(act)
        office.desk.signer = genuine
        await refused(office, act, forged)


async def test_a_grant_fits_one_route_and_one_target(office: Office) -> None:
    """Whatever is called with it."""
    unlock = office.act("user.unlock", office.user_id)
    grant = office.grant_of(unlock)
    for other in (
        office.act("user.unlock", office.owner_id),
        office.act("number.reset", office.user_id),
        office.act("number.reset", office.user_id, anywhere=True),
        office.act("two_factor.off", office.account_id),
        office.act("exports.release", office.account_id),
    ):
        await refused(office, other, grant)
    reset = office.act("number.reset", office.user_id)
    await refused(office, office.act("number.reset", office.user_id, anywhere=True), office.grant_of(reset))


async def test_a_copy_that_showed_another_text_lets_nothing_through(office: Office) -> None:
    """The digest is of the act, but the text that the account manager read was of another."""
    act = office.act("two_factor.off", office.account_id)
    copy = REQUESTS.build(
        "manager_act",
        office.staff_id,
        office.manager_id,
        Client(**CLIENT),
        act.authorised(),
        act.summary,
        request_id=act.request_id,
    ).event.model_copy(update={"summary": Summary(what="unlock, user 12345678")})
    await refused(office, act, office.grant_of(act, req=req_of(value_of(copy))))


async def test_no_caller_and_no_member_acts(office: Office) -> None:
    """Not with a service's bearer, not without one; not an owner, not whoever was removed from the staff."""
    act = office.act("two_factor.off", office.account_id)
    body = {"reason": act.reason, "ticket": act.ticket, "client": CLIENT}
    status, _ = await office.post(act.route, body, {})
    assert status == 401
    status, _ = await office.post(act.route, body, office.calls.gateway)
    assert status == 403
    for user_id in (office.owner_id, office.user_id):
        status, problem = await office.call(act, office.grant_of(act, user_id))
        assert (status, problem["type"]) == (403, "urn:countersign:problem:actor_not_allowed")
    await office.desk.db.execute("UPDATE member SET role = NULL, name = NULL WHERE user_id = $1", office.manager_id)
    status, problem = await office.call(act)
    assert (status, problem["type"]) == (403, "urn:countersign:problem:actor_not_allowed")
    assert (await office.see())["two_factor"] is True
