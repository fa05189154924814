"""What the console asks enrolment: accounts and acts to show with the service's bearer, acts with their own grants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from services.gateway.console.model import Account, ActSeen, RequestSeen, Timeline
from services.gateway.upstream import Upstream, UpstreamAwayError

if TYPE_CHECKING:
    from uuid import UUID

    from services.gateway.console.model import ActDraft
    from services.gateway.upstream import Reply

_PROBLEM = "urn:countersign:problem:"
_REFUSALS = frozenset({401, 403})


class _Acts(BaseModel):
    model_config = ConfigDict(extra="ignore")

    acts: list[ActSeen]


class _Requests(BaseModel):
    model_config = ConfigDict(extra="ignore")

    requests: list[RequestSeen]


class _Problem(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str = ""
    spent_as: str | None = None


class ManagerCalls(Upstream):
    """Calls enrolment for the console."""

    async def account(self, account_id: UUID) -> Account | None:
        """Return the account, or None if enrolment does not know it."""
        reply = await self._ask("GET", f"/v1/accounts/{account_id}")
        return self._read(Account, reply) if reply.status == 200 else None  # noqa: PLR2004 - RFC 9110

    async def acts(self, manager_id: UUID | None) -> list[ActSeen]:
        """Return what was done last, by one account manager or by all."""
        query = None if manager_id is None else {"manager_id": str(manager_id)}
        reply = await self._ask("GET", "/v1/manager/acts", query)
        return self._read(_Acts, reply).acts

    async def requests(self, account_id: UUID, user_id: UUID | None) -> list[RequestSeen]:
        """Return the latest requests of an account, or of one of its members; none of an account that is not known."""
        query = None if user_id is None else {"user_id": str(user_id)}
        reply = await self._ask("GET", f"/v1/manager/accounts/{account_id}/requests", query)
        return self._read(_Requests, reply).requests if reply.status == 200 else []  # noqa: PLR2004 - RFC 9110

    async def timeline(self, account_id: UUID, request_id: UUID) -> Timeline | None:
        """Return a request of the account with all that happened to it; None if the account made no such request."""
        reply = await self._ask("GET", f"/v1/manager/accounts/{account_id}/requests/{request_id}")
        return self._read(Timeline, reply) if reply.status == 200 else None  # noqa: PLR2004 - RFC 9110

    async def act(self, draft: ActDraft, grant: str) -> str:
        """Carry an act out; return `done`, `recorded`, or the word with which enrolment refused it.

        A grant that was spent on this very act by an earlier sending of the same form gives that one's outcome.
        """
        client = {"ip": draft.ip, "locale": draft.locale}
        body = {"reason": draft.reason, "ticket": draft.ticket, "client": client}
        reply = await self._ask("POST", draft.act.route, body=body, answers=_REFUSALS, bearer=grant)
        match reply.status:
            case 200:
                return "done"
            case 202:
                return "recorded"
            case _:
                return _refusal(reply)


def _refusal(reply: Reply) -> str:
    try:
        problem = _Problem.model_validate_json(reply.body)
    except ValidationError:
        raise UpstreamAwayError(f"enrolment: answered {reply.status} with something unforeseen") from None
    return problem.spent_as or problem.type.removeprefix(_PROBLEM)
