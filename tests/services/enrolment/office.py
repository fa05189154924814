"""The staff account, two account managers, and what they send to enrolment with the grants of their codes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from countersign.client import AccessRequests, ManagerAct
from countersign.contract import Client
from services.enrolment import changes
from services.enrolment.chain import broken_at
from tests.support.events import a_member_set, clock
from tests.support.grants import claims_of
from tests.support.kafka import eventually, read_topic

if TYPE_CHECKING:
    from datetime import timedelta

    from countersign.client import ManagerActKind
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

ADD_MANAGER = """
INSERT INTO member (user_id, account_id, version, role, name) VALUES ($1, $2, 1, 'account_manager', 'Dana')
"""
CLIENT = {"ip": "203.0.113.7", "locale": "en"}
REQUESTS = AccessRequests("console")


@dataclass
class Office:
    """The staff account with two account managers, and a protected account that they act on."""

    desk: Desk
    calls: Calls
    account_id: UUID
    owner_id: UUID
    user_id: UUID = field(default_factory=uuid4)
    staff_id: UUID = field(default_factory=uuid4)
    manager_id: UUID = field(default_factory=uuid4)
    second_id: UUID = field(default_factory=uuid4)

    def act(self, kind: ManagerActKind, target: UUID, **over: Any) -> ManagerAct:
        """Return an act with reason and ticket."""
        fields: dict[str, Any] = {"request_id": uuid4(), "reason": "asked by telephone", "ticket": "SUP-1042"}
        return ManagerAct(kind=kind, target=target, **(fields | over))

    def grant_of(self, act: ManagerAct, manager_id: UUID | None = None, **over: Any) -> str:
        """Return the grant that the code to the act's request gives."""
        user_id = manager_id or self.manager_id
        built = REQUESTS.build(
            "manager_act",
            self.staff_id,
            user_id,
            Client(**CLIENT),
            act.authorised(),
            act.summary,
            request_id=act.request_id,
        )
        claims: dict[str, Any] = {
            "request_id": act.request_id,
            "user_id": user_id,
            "account_id": self.staff_id,
            "action": "manager_act",
            "digest": built.digest,
            "req": built.req,
            "now": clock(),
        }
        return self.desk.signer.sign(claims_of(**(claims | over)))

    async def call(self, act: ManagerAct, grant: str | None = None, **over: Any) -> tuple[int, Any]:
        """Carry an act out with a grant; without one, with its own."""
        body = {"reason": act.reason, "ticket": act.ticket, "client": CLIENT} | over
        return await self.post(act.route, body, {"Authorization": f"Bearer {grant or self.grant_of(act)}"})

    async def post(self, path: str, body: object, headers: dict[str, str]) -> tuple[int, Any]:
        """Post to a route."""
        async with self.calls.session.post(self.calls.url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def see(self) -> dict[str, Any]:
        """Return the account as its pages see it."""
        url = f"{self.calls.url}/v1/accounts/{self.account_id}"
        async with self.calls.session.get(url, headers=self.calls.gateway) as answer:
            seen: dict[str, Any] = await answer.json()
            return seen

    async def member(self, user_id: UUID) -> dict[str, Any]:
        """Return a member as the account's pages see them."""
        found: dict[str, Any] = next(one for one in (await self.see())["members"] if one["user_id"] == str(user_id))
        return found

    async def age_acts(self, by: timedelta) -> None:
        """Let all acts on the account be that much older."""
        await self.desk.db.execute(
            "UPDATE manager_act SET at = at - $2::interval WHERE account_id = $1", self.account_id, by
        )

    async def told(self, servers: Servers) -> list[str]:
        """Return the types of this account's events, once they are as many as its changes, in order of version."""
        links = await changes.links_of(self.desk.db, self.account_id)
        assert broken_at(links) is None
        found: dict[int, str] = {}

        async def all_there() -> bool:
            for record in await read_topic(servers.kafka, "account.settings.v1"):
                if record.key == str(self.account_id).encode():
                    named = dict(record.headers)["ce_type"].decode()
                    found[json.loads(record.value or b"")["version"]] = named
            return len(found) == len(links)

        await eventually(all_there)
        return [found[version] for version in sorted(found)]


async def an_office(desk: Desk, calls: Calls) -> Office:
    """Make both accounts; every member of either has a confirmed number."""
    account_id, owner_id = await desk.account(two_factor=True)
    made = Office(desk, calls, account_id, owner_id)
    await desk.fold(await desk.ask_for(a_member_set(account_id=account_id, user_id=made.user_id, name="Max"), owner_id))
    await desk.db.execute("INSERT INTO account (account_id) VALUES ($1)", made.staff_id)
    for manager_id in (made.manager_id, made.second_id):
        await desk.db.execute(ADD_MANAGER, manager_id, made.staff_id)
    for one in (owner_id, made.user_id, made.manager_id, made.second_id):
        await desk.add_number(one, "confirmed")
    return made


async def refused(office: Office, act: ManagerAct, grant: str | None = None, **over: Any) -> None:
    """Call with a grant that does not authorise the act, and find nothing changed."""
    before = await office.desk.stored(office.account_id)
    status, problem = await office.call(act, grant, **over)
    assert (status, problem["type"]) == (403, "urn:countersign:problem:grant_refused"), problem
    assert await office.desk.stored(office.account_id) == before
    acts = await office.desk.db.fetchval("SELECT count(*) FROM manager_act WHERE account_id = $1", office.account_id)
    assert acts == 0
