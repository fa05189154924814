"""What enrolment shows an account manager's console of a customer's requests: whose, how many, and what never."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from services.enrolment.requests_seen.routes import REQUESTS_LISTED_MAX
from tests.services.enrolment.office import an_office

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.services.enrolment.conftest import Calls
    from tests.services.enrolment.office import Office
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

HINT, PROVIDER_ID = "+61 ••••••••06", "sns-7f3a"
ASSESSED = """
INSERT INTO risk_evaluator.assessment (request_id, account_id, user_id, action, digest, place, place_known, outcome,
                                       reasons, policy_version, requested_at)
VALUES ($1, $2, $3, 'export', 'd', '203.0.113.7/32', false, 'challenge', '{export.always}', 'p-1',
        now() - $4::int * interval '1 minute')
"""
CHALLENGED = """
WITH taken AS (
    INSERT INTO verifier.request (request_id, account_id, user_id, action, digest, taken_at)
    VALUES ($1, $2, $3, 'export', 'd', now() - $6::int * interval '1 minute') RETURNING request_id
), challenged AS (
    INSERT INTO verifier.challenge (challenge_id, request_id, account_id, user_id, action, digest, reasons, client,
                                    summary, place_known, number_id, number_hint, attempts_max, issued_at, expires_at)
    SELECT $4, request_id, $2, $3, 'export', 'd', '{export.always}', '{}', '{}', false, gen_random_uuid(), $5, 5, now(),
           now() + interval '5 minutes' FROM taken RETURNING challenge_id
)
INSERT INTO verifier.send (challenge_id, send, code_digest, issued_at, state)
SELECT challenge_id, 1, decode(repeat('00', 32), 'hex'), now(), 'accepted' FROM challenged
"""
SENT = """
INSERT INTO notifier.dispatch (challenge_id, send, fingerprint, account_id, user_id, number_id, expires_at, state,
                               country, segments, provider_message_id, settled_at)
VALUES ($1, 1, '', $2, $3, gen_random_uuid(), now() + interval '5 minutes', 'accepted', 'AU', 1, $4, now())
"""


@dataclass
class Requests:
    """Requests of the office's customer, laid into the tables of the services that would have made the rows."""

    office: Office
    db: asyncpg.Connection
    asked: list[UUID] = field(default_factory=list)

    async def add(self, account_id: UUID, user_id: UUID, minutes_ago: int = 0) -> UUID:
        """Let a user of an account ask for an export, which waits for its code."""
        request_id, challenge_id = uuid4(), uuid4()
        await self.db.execute(ASSESSED, request_id, account_id, user_id, minutes_ago)
        await self.db.execute(CHALLENGED, request_id, account_id, user_id, challenge_id, HINT, minutes_ago)
        await self.db.execute(SENT, challenge_id, account_id, user_id, PROVIDER_ID)
        self.asked.append(request_id)
        return request_id

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Ask enrolment as the console does."""
        calls = self.office.calls
        url = f"{calls.url}/v1/manager/accounts/{path}"
        async with calls.session.get(url, headers=calls.gateway if headers is None else headers) as answer:
            return answer.status, await answer.json(content_type=None)


@pytest_asyncio.fixture(loop_scope="session")
async def requests(desk: Desk, calls: Calls, servers: Servers) -> AsyncIterator[Requests]:
    """Make the office, and reach every service's tables."""
    db = await asyncpg.connect(servers.postgres_dsn)
    try:
        yield Requests(await an_office(desk, calls), db)
    finally:
        await db.close()


async def test_the_time_line_of_a_request(requests: Requests) -> None:
    """Every service's steps with the time between them; no number, not even a masked one, and no provider's id."""
    office = requests.office
    request_id = await requests.add(office.account_id, office.user_id)
    status, seen = await requests.get(f"{office.account_id}/requests/{request_id}")
    assert status == 200
    about = seen["request"]
    assert (about["action"], about["user_id"], about["outcome"]["kind"]) == ("export", str(office.user_id), "waiting")
    assert {step["service"] for step in seen["steps"]} == {"risk_evaluator", "verifier", "notifier"}
    assert [step["after_ms"] is None for step in seen["steps"]] == [True] + [False] * (len(seen["steps"]) - 1)
    assessed = next(step for step in seen["steps"] if step["what"] == "assessed")["detail"]
    assert (assessed["policy_version"], assessed["place"]) == ("p-1", "203.0.113.7/32")
    assert {"text.issued", "text.accepted", "challenged"} <= {step["what"] for step in seen["steps"]}
    for hidden in ("+61", "•", PROVIDER_ID, "'AU'"):
        assert hidden not in str(seen)


async def test_the_latest_requests_of_an_account_and_of_a_member(requests: Requests) -> None:
    """The newest first, at most as many as are listed; of one member those alone."""
    office = requests.office
    for nth in range(REQUESTS_LISTED_MAX + 2):
        await requests.add(office.account_id, office.owner_id if nth % 2 else office.user_id, minutes_ago=1 + nth)
    status, seen = await requests.get(f"{office.account_id}/requests")
    assert status == 200
    first, *exports = seen["requests"]
    assert first["action"] == "manage_member"  # by which the office's user became a member, a moment ago
    assert [one["request_id"] for one in exports] == _ids(requests.asked[: REQUESTS_LISTED_MAX - 1])
    _, seen = await requests.get(f"{office.account_id}/requests?user_id={office.user_id}")
    assert [one["request_id"] for one in seen["requests"]] == _ids(requests.asked[::2])
    assert {one["user_id"] for one in seen["requests"]} == {str(office.user_id)}


def _ids(ids: list[UUID]) -> list[str]:
    return [str(one) for one in ids]


async def test_another_accounts_request_is_not_found(requests: Requests) -> None:
    """It looks like an id that nobody knows; nor is it listed under a member of another account."""
    office = requests.office
    elsewhere = await requests.add(office.staff_id, office.manager_id)
    theirs = await requests.get(f"{office.account_id}/requests/{elsewhere}")
    nobody = await requests.get(f"{office.account_id}/requests/{uuid4()}")
    assert theirs == nobody
    assert theirs[0] == 404
    assert theirs[1]["type"] == "urn:countersign:problem:request_unknown"
    _, seen = await requests.get(f"{office.account_id}/requests?user_id={office.manager_id}")
    assert seen == {"requests": []}
    assert (await requests.get(f"{uuid4()}/requests"))[0] == 404
    assert (await requests.get(f"{uuid4()}/requests/{elsewhere}"))[0] == 404


async def test_a_step_under_another_account_is_left_out(requests: Requests) -> None:
    """Where two accounts used one request id, an account's time line has the steps of that account alone."""
    office = requests.office
    request_id = await requests.add(office.account_id, office.user_id)
    await requests.db.execute(
        "UPDATE verifier.request SET account_id = $2 WHERE request_id = $1", request_id, office.staff_id
    )
    _, seen = await requests.get(f"{office.account_id}/requests/{request_id}")
    assert "taken" not in {step["what"] for step in seen["steps"]}


@pytest.mark.parametrize("path", ["requests", f"requests/{uuid4()}"])
async def test_only_who_may_read_for_account_managers_reads(requests: Requests, path: str) -> None:
    """No bearer, a bearer of nobody, a caller without the right, the grant of an act."""
    office = requests.office
    grant = office.grant_of(office.act("user.unlock", office.user_id))
    for headers, expected in (
        ({}, 401),
        ({"Authorization": "Bearer x"}, 401),
        (office.calls.stranger, 403),
        ({"Authorization": f"Bearer {grant}"}, 401),
    ):
        assert (await requests.get(f"{office.account_id}/{path}", headers))[0] == expected


@pytest.mark.parametrize("path", ["x/requests", "{id}/requests/x", "{id}/requests?user_id=x", "{id}/requests?limit=1"])
async def test_bad_input_is_said(requests: Requests, path: str) -> None:
    """Ids in one spelling, and no parameter that nobody reads."""
    status, _ = await requests.get(path.format(id=requests.office.account_id))
    assert status == 400


async def test_a_view_that_may_not_be_read_is_said(requests: Requests) -> None:
    """A request must not look stuck because a service's migrations have not run."""
    office = requests.office
    await requests.db.execute("REVOKE SELECT ON verifier.timeline FROM enrolment")
    try:
        status, problem = await requests.get(f"{office.account_id}/requests")
    finally:
        await requests.db.execute("GRANT SELECT ON verifier.timeline TO enrolment")
    assert (status, problem["type"]) == (503, "urn:countersign:problem:timeline_unreadable")
    assert "verifier" in problem["detail"]
