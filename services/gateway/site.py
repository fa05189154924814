"""The two sites: which page answers which address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from services.gateway.guard import FORM_BYTES_MAX, UNAVAILABLE, headers, middlewares
from services.gateway.model import Site
from services.gateway.pages.account import AccountPages, ConsolePages
from services.gateway.pages.contacts import ContactPages
from services.gateway.pages.exports import ExportPages
from services.gateway.pages.login import LoginPages
from services.gateway.pages.login_code import LoginCodePages
from services.gateway.pages.phone import PhonePages
from services.gateway.pages.unavailable import UnavailablePage

if TYPE_CHECKING:
    from services.gateway.gate import Gate


def application(gate: Gate) -> web.Application:
    """Return the application of the gate's site."""
    app = web.Application(middlewares=middlewares(gate), client_max_size=FORM_BYTES_MAX)
    app.on_response_prepare.append(headers(gate))
    login, code = LoginPages(gate), LoginCodePages(gate)
    app.add_routes(
        [
            web.get("/login", login.show),
            web.post("/login", login.submit),
            web.post("/logout", login.log_out),
            web.get("/login/code", code.show),
            web.post("/login/code", code.submit),
            web.get(UNAVAILABLE, UnavailablePage(gate).show),
            web.get("/static/{name}", gate.pages.static),
        ]
    )
    app.add_routes(_console(gate) if gate.site is Site.CONSOLE else _pages(gate))
    return app


def _console(gate: Gate) -> list[web.RouteDef]:
    console = ConsolePages(gate)
    return [web.get("/", console.home), web.get("/manager", console.manager)]


def _pages(gate: Gate) -> list[web.RouteDef]:
    account, contacts, exports = AccountPages(gate), ContactPages(gate), ExportPages(gate)
    routes = [
        web.get("/", account.home),
        web.get("/account", account.account),
        web.get("/contacts", contacts.show),
        web.post("/exports", contacts.ask),
        web.get("/exports/{id}", exports.show),
        web.post("/exports/{id}", exports.submit),
        web.get("/exports/{id}/file", exports.file),
    ]
    if gate.settings.local is not None:
        phone = PhonePages(gate, gate.settings.local)
        routes += [web.get("/phone", phone.show), web.post("/phone", phone.act_as)]
    return routes
