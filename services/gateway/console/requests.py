"""What became of a customer's requests: the latest of an account or of a member, and the time line of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from services.gateway.console.decide import member_of
from services.gateway.console.decide_requests import advice_of, is_open, lines_of, retry_at, row_of, text_of
from services.gateway.console.finding import known_account
from services.gateway.pages.contacts import id_in
from services.gateway.render import see_other
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from services.gateway.gate import Gate


class RequestPages:
    """GET /manager/accounts/{id}/requests and …/requests/{request}. They read, so they take no code of their own."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def listed(self, request: web.Request) -> web.Response:
        """Show the latest requests of an account, or of its member `user`."""
        if request[VISITOR].signed_in is None:
            return see_other("/login")
        account = await known_account(self._gate, request)
        member = None
        if "user" in request.query:
            member = member_of(account, id_in(request.query["user"]))
            if member is None:
                raise web.HTTPNotFound
        found = await self._gate.manager_calls.requests(account.account_id, None if member is None else member.user_id)
        names = {one.user_id: one.name for one in account.members}
        return self._gate.pages.page(
            request,
            "console/requests.html",
            account=account,
            member=member,
            rows=[row_of(one, names) for one in found],
            here="find",
        )

    async def timeline(self, request: web.Request) -> web.Response:
        """Show what became of one request, and each step of it."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        request_id = id_in(request.match_info["request"])
        account = await known_account(self._gate, request)
        found = await self._gate.manager_calls.timeline(account.account_id, request_id)
        if found is None:
            raise web.HTTPNotFound
        names = {one.user_id: one.name for one in account.members}
        outcome = found.request.outcome
        return self._gate.pages.page(
            request,
            "console/request.html",
            state=outcome.kind,
            account=account,
            row=row_of(found.request, names),
            text=text_of(outcome),
            advice=advice_of(outcome),
            retry_at=retry_at(outcome, session.now),
            again=request.path if is_open(outcome) else None,
            lines=lines_of(found.steps),
            here="find",
        )
