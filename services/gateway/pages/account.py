"""The start page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway.pages.asked_exports import UNDER_WAY, shown_exports
from services.gateway.render import see_other
from services.gateway.upstream import ExportOwner
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate


class AccountPages:
    """GET /."""

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
