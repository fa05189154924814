"""The start page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway import store
from services.gateway.render import see_other
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
        exports = await store.exports_of(self._gate.pool, visitor.session_id)
        return self._gate.pages.page(request, "home.html", exports=exports, here="home")
