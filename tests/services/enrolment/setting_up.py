"""An account that is being set up: its people call the routes, and codes are entered by signing their grants."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from tests.support.events import a_member_set, an_access_granted, clock, incoming
from tests.support.grants import claims_of

if TYPE_CHECKING:
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk

OLD, NEW, THIRD = "+61491570006", "+61491570156", "+46701740605"
CLIENT = {"ip": "203.0.113.7", "locale": "en"}


@dataclass
class Home:
    """An account, its owner and a managed user."""

    desk: Desk
    calls: Calls
    account_id: UUID = field(default_factory=uuid4)
    owner_id: UUID = field(default_factory=uuid4)
    member_id: UUID = field(default_factory=uuid4)

    async def call(self, method: str, path: str, **fields: Any) -> tuple[int, Any]:
        """Call a route as the gateway does; return status and document."""
        body = {"client": CLIENT, **{name: _plain(value) for name, value in fields.items()}}
        async with self.calls.session.request(
            method, self.calls.url + path, json=body, headers=self.calls.gateway
        ) as answer:
            return answer.status, await answer.json(content_type=None)

    async def enter(self, actor: UUID, user: UUID, **fields: Any) -> tuple[int, Any]:
        """Enter a number, or bring the grant of one."""
        return await self.call("PUT", f"/v1/users/{user}/number", actor=actor, **fields)

    async def turn_on(self, actor: UUID | None = None, **fields: Any) -> tuple[int, Any]:
        """Save with the box ticked."""
        path = f"/v1/accounts/{self.account_id}/two-factor"
        return await self.call("PUT", path, actor=actor or self.owner_id, enabled=True, **fields)

    async def grant_of(self, request_id: str, **over: Any) -> str:
        """Return the grant that an accepted code of the request gives."""
        return self.desk.signer.sign(claims_of(**(await self.request(request_id) | {"now": clock()} | over)))

    async def read_grant(self, request_id: str, **over: Any) -> list[str]:
        """Let enrolment read the decision with the grant, as from the topic; return causes of dead letters."""
        request = await self.request(request_id)
        fields = {name: request[name] for name in ("request_id", "user_id", "account_id", "action", "digest")}
        return await self.desk.fold(
            incoming(an_access_granted(**fields, grant=await self.grant_of(request_id, **over)))
        )

    async def request(self, request_id: str) -> dict[str, Any]:
        """Return what the grant of the request signs."""
        row = await self.desk.db.fetchrow(
            "SELECT request_id, user_id, account_id, action, digest, req FROM request WHERE request_id = $1",
            UUID(request_id),
        )
        return dict(row)

    async def confirm(self, user: UUID, number: str) -> str:
        """Enter a number and its code; return its id."""
        status, done = await self.enter(user, user, number=number)
        assert (status, done["needs"]) == (202, "confirm_number"), done
        assert await self.read_grant(done["request_id"]) == []
        return str(done["number_id"])

    async def numbers(self, user: UUID) -> list[tuple[str, str]]:
        """Return id and state of every number of a user, oldest first."""
        rows = await self.desk.db.fetch(
            "SELECT number_id, state FROM phone_number WHERE user_id = $1 ORDER BY provided_at, number_id", user
        )
        return [(str(row["number_id"]), row["state"]) for row in rows]

    async def changes(self) -> list[str]:
        """Return the kinds of the account's changes, oldest first."""
        rows = await self.desk.db.fetch(
            "SELECT kind FROM setting_change WHERE account_id = $1 ORDER BY version", self.account_id
        )
        return [row["kind"] for row in rows]

    async def protect(self) -> None:
        """Confirm the owner's number, give the managed user one, and turn two-factor on."""
        await self.confirm(self.owner_id, OLD)
        assert (await self.enter(self.owner_id, self.member_id, number=THIRD))[0] == 202
        assert (await self.turn_on())[0] == 200


async def a_home(desk: Desk, calls: Calls) -> Home:
    """Make an account as the platform does: by two words about its members."""
    home = Home(desk, calls)
    await desk.fold(
        a_member_set(account_id=home.account_id, user_id=home.owner_id, role="owner", name="Olivia"),
        a_member_set(account_id=home.account_id, user_id=home.member_id, role="managed", name="Ben"),
    )
    return home


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
