"""An account that the contract alone makes, by somebody who is no part of the demonstration, reaches "on"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp

from countersign.client import AccessRequests, Challenges, Client, Decisions, ProducerSettings
from tests.support.events import a_member_set, outgoing
from tests.support.kafka import publish_raw
from tests.support.whole_stack import WholeStack, new_address, new_number, until

if TYPE_CHECKING:
    from uuid import UUID

    from tests.support.stack import RunningStack


class Platform:
    """A platform that speaks HTTP and Kafka, and knows nothing else of Countersign."""

    def __init__(self, whole: WholeStack, http: aiohttp.ClientSession) -> None:
        self.whole = whole
        self.http = http
        self.account_id, self.owner_id, self.managed_id = uuid4(), uuid4(), uuid4()
        self.owners, self.manageds = new_number(), new_number()

    async def tell(self, user_id: UUID, role: str, name: str) -> None:
        """Publish a member."""
        record = outgoing(a_member_set(account_id=self.account_id, user_id=user_id, role=role, name=name))
        kafka = self.whole.kafka
        await publish_raw(kafka, record.topic, record.key, record.value, list(record.headers))

    async def call(self, method: str, path: str, actor: UUID | None = None, **fields: Any) -> tuple[int, Any]:
        """Call enrolment; without an actor there is no body."""
        body = None if actor is None else {"actor": str(actor), "client": {"ip": None, "locale": "en"}, **fields}
        async with self.http.request(method, self.whole["ENROLMENT_URL"] + path, json=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def account(self) -> Any:
        """Return how enrolment shows the account."""
        return (await self.call("GET", f"/v1/accounts/{self.account_id}"))[1]

    async def enter_code(self, request_id: UUID | str, number: str) -> str:
        """Wait for the challenge, read the phone, enter the code, and return the grant."""
        verifier, token = self.whole["VERIFIER_URL"], self.whole["SERVICE_TOKEN"]
        async with Decisions(verifier, token) as decisions, Challenges(verifier, token) as challenges:
            found = await decisions.wait(request_id, 10)
            assert found.challenge is not None, found
            code = await self.whole.code(number, "")
            verdict = await challenges.answer(found.challenge.challenge_id, code, uuid4())
        assert verdict.grant is not None, verdict
        return verdict.grant


async def test_an_account_made_by_its_events_reaches_on_over_http_alone(stack: RunningStack) -> None:
    """Its people enter their numbers, the owner turns it on, and the next log-in from a new computer needs a code."""
    whole = WholeStack(stack)
    bearer = {"Authorization": f"Bearer {whole['SERVICE_TOKEN']}"}
    async with aiohttp.ClientSession(headers=bearer) as http:
        platform = Platform(whole, http)
        await platform.tell(platform.owner_id, "owner", "Nora")
        await platform.tell(platform.managed_id, "managed", "Per")

        async def both_known() -> bool:
            return len((await platform.account()).get("members", ())) == 2

        await until(both_known, "both members")
        owner, managed = platform.owner_id, platform.managed_id
        switch = f"/v1/accounts/{platform.account_id}/two-factor"
        assert (await platform.call("PUT", switch, owner, enabled=True))[0] == 409
        assert (await platform.call("PUT", f"/v1/users/{managed}/number", owner, number=platform.manageds))[0] == 202
        status, asked = await platform.call(
            "PUT", f"/v1/users/{owner}/number", owner, number=_as_dialled_at_home(platform.owners), region="US"
        )
        assert (status, asked["needs"]) == (202, "confirm_number")
        grant = await platform.enter_code(asked["request_id"], platform.owners)
        assert (await platform.call("PUT", switch, owner, enabled=True, grant=grant))[0] == 200
        assert (await platform.account())["two_factor"]

        login = await _log_in(platform, managed)
        await platform.enter_code(login, platform.manageds)

        async def confirmed() -> bool:
            return all(member["number"] is not None for member in (await platform.account())["members"])

        await until(confirmed, "the number that the first code confirms")


async def _log_in(platform: Platform, user_id: UUID) -> UUID:
    settings = ProducerSettings.like(platform.whole.kafka)
    async with AccessRequests("platform", settings) as requests:
        client = Client(ip=new_address(), locale="en")
        built = requests.build("login", platform.account_id, user_id, client, {"session": str(uuid4())})
        await requests.submit(built)
    return built.request_id


def _as_dialled_at_home(number: str) -> str:
    """Return a North American number as people write it there: `(202) 555-0123`."""
    area, exchange, line = number[2:5], number[5:8], number[8:]
    return f"({area}) {exchange}-{line}"
