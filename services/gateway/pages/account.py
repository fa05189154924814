"""The signed-in pages: the start page, the account's overview, and the console's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway import store
from services.gateway.pages.asked_exports import UNDER_WAY, shown_exports
from services.gateway.render import see_other
from services.gateway.upstream import Account, ExportOwner
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate


class AccountPages:
    """GET / and /account."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def home(self, request: web.Request) -> web.Response:
        """Greet, and lead on; whoever has given only the password goes on with the code."""
        visitor = request[VISITOR]
        if visitor.pending is not None:
            return see_other("/login/code")
        session = visitor.signed_in
        if session is None:
            return see_other("/login")
        owner = ExportOwner(session.account_id, session.user_id, visitor.session_id)
        exports = await shown_exports(self._gate, session, owner)
        poll = 3 if any(export.state in UNDER_WAY for export in exports) else None
        return self._gate.pages.page(request, "home.html", exports=exports, here="home", state="home", poll=poll)

    async def account(self, request: web.Request) -> web.Response:
        """Show who uses the account and how it is protected."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        account = await self._gate.enrolment.account(session.account_id)
        if account is None:
            account = Account(two_factor=False, members=[])
        places = await store.places_of(self._gate.pool, session.account_id)
        return self._gate.pages.page(request, "account.html", account=account, places=places, here="account")


class ConsolePages:
    """GET /manager, and / which leads there."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def manager(self, request: web.Request) -> web.Response:
        """Greet an account manager."""
        visitor = request[VISITOR]
        if visitor.pending is not None:
            return see_other("/login/code")
        if visitor.signed_in is None:
            return see_other("/login")
        return self._gate.pages.page(request, "manager.html")

    async def home(self, request: web.Request) -> web.Response:
        """Lead to the console's only page."""
        del request
        return see_other("/manager")
