"""What the gateway asks enrolment: what an account looks like, and changes on behalf of the member who acts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from services.gateway.settings_pages.model import Account, Block
from services.gateway.upstream import Upstream, UpstreamAwayError, UpstreamRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.contract import Client
    from services.gateway.upstream import Reply

_OUR_SETTINGS = frozenset({"caller_not_allowed"})  # the one 403 that is about this service and not about a member
_PROBLEM = "urn:countersign:problem:"


class Begun(BaseModel):
    """A change of a number: what code it needs and of which request, or None where it is done."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_id: UUID | None = None
    number_id: UUID | None = None
    number_hint: str
    needs: Literal["confirm_number", "change_number", "manage_member"] | None = None


class _Problem(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str = ""
    reason: str | None = None
    blocked_by: list[Block] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why enrolment does not do it: `kind` is a word, `reason` what is wrong with a number."""

    kind: str
    reason: str | None = None
    blocked_by: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Acting:
    """The signed-in member who acts, and the browser that it is done from."""

    user_id: UUID
    account_id: UUID
    client: Client = field(repr=False)

    def body(self) -> dict[str, Any]:
        """Return what every change says of its actor."""
        return {"actor": str(self.user_id), "client": self.client.model_dump(mode="json")}


class Enrolment(Upstream):
    """Asks enrolment."""

    async def account(self, account_id: UUID) -> Account | None:
        """Return the account, or None if enrolment does not know it."""
        reply = await self._ask("GET", f"/v1/accounts/{account_id}")
        return self._read(Account, reply) if reply.status == 200 else None  # noqa: PLR2004 - RFC 9110

    async def give_number(self, acting: Acting, user_id: UUID, number: str, request_id: UUID) -> Begun | Refusal:
        """Give or change a user's number. The same `request_id` is the same request."""
        return await self._number(
            "PUT", f"/v1/users/{user_id}/number", acting, number=number, request_id=str(request_id)
        )

    async def go_on(self, acting: Acting, user_id: UUID, grant: str, request_id: UUID) -> Begun | Refusal:
        """Carry out a change of a number whose code was accepted."""
        return await self._number("PUT", f"/v1/users/{user_id}/number", acting, grant=grant, request_id=str(request_id))

    async def confirm_number(self, acting: Acting, request_id: UUID) -> Begun | Refusal:
        """Ask for the code to the actor's number that was given earlier."""
        path = f"/v1/users/{acting.user_id}/number/confirmation"
        return await self._number("POST", path, acting, request_id=str(request_id))

    async def turn_on(self, acting: Acting, grant: str | None, keep_places: Sequence[str] | None) -> Refusal | None:
        """Turn two-factor authentication on; None if it is on. `grant` confirms the actor's own number."""
        body = {**acting.body(), "enabled": True}
        body |= {} if grant is None else {"grant": grant}
        body |= {} if keep_places is None else {"keep_places": list(keep_places)}
        reply = await self._change("PUT", f"/v1/accounts/{acting.account_id}/two-factor", body)
        return None if reply.status == 200 else _refusal(reply)  # noqa: PLR2004 - RFC 9110

    async def forget_places(self, acting: Acting, place: str | None) -> bool:
        """Forget a place of the account, or all of them. False if enrolment knows no such place, account or member."""
        path = f"/v1/accounts/{acting.account_id}/places"
        path += "" if place is None else f"/{quote(place, safe='')}"
        reply = await self._ask("DELETE", path, {"actor_id": str(acting.user_id)}, answers=frozenset({403}))
        return reply.status == 204  # noqa: PLR2004 - RFC 9110

    async def _number(self, method: str, path: str, acting: Acting, **rest: str) -> Begun | Refusal:
        reply = await self._change(method, path, {**acting.body(), **rest})
        return self._read(Begun, reply) if reply.status == 202 else _refusal(reply)  # noqa: PLR2004 - RFC 9110

    async def _change(self, method: str, path: str, body: Mapping[str, Any]) -> Reply:
        reply = await self._ask(method, path, body=body, answers=frozenset({403}))
        if reply.status == 403 and _refusal(reply).kind in _OUR_SETTINGS:  # noqa: PLR2004 - RFC 9110
            raise UpstreamRefusedError(f"{path.split('/')[2]}: answered {reply.status}")
        return reply


def _refusal(reply: Reply) -> Refusal:
    try:
        problem = _Problem.model_validate_json(reply.body)
    except ValidationError:
        raise UpstreamAwayError(f"enrolment: answered {reply.status} with something unforeseen") from None
    return Refusal(
        kind=problem.type.removeprefix(_PROBLEM), reason=problem.reason, blocked_by=tuple(problem.blocked_by)
    )
