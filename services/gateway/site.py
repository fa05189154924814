"""The two sites: which page answers which address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from services.gateway.console.acting import ActPages
from services.gateway.console.finding import FindingPages
from services.gateway.console.requests import RequestPages
from services.gateway.guard import FORM_BYTES_MAX, UNAVAILABLE, headers, middlewares
from services.gateway.model import Site
from services.gateway.pages.account import AccountPages
from services.gateway.pages.contacts import ContactPages
from services.gateway.pages.exports import ExportPages
from services.gateway.pages.login import LoginPages
from services.gateway.pages.login_code import LoginCodePages
from services.gateway.pages.phone import PhonePages
from services.gateway.pages.unavailable import UnavailablePage
from services.gateway.settings_pages.number import NumberPages
from services.gateway.settings_pages.overview import OverviewPages
from services.gateway.settings_pages.password import PasswordPages
from services.gateway.settings_pages.two_factor import TwoFactorPages
from services.gateway.setup.entrance import nothing_else
from services.gateway.setup.pages import SetupPages

if TYPE_CHECKING:
    from services.gateway.gate import Gate


def application(gate: Gate) -> web.Application:
    """Return the application of the gate's site."""
    app = web.Application(middlewares=[*middlewares(gate), nothing_else], client_max_size=FORM_BYTES_MAX)
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
    finding, acting, requests = FindingPages(gate), ActPages(gate), RequestPages(gate)
    on_account, on_user = "/manager/accounts/{id}/{act}", "/manager/accounts/{id}/users/{user}/{act}"
    return [
        web.get("/", finding.home),
        web.get("/manager", finding.front),
        web.post("/manager", finding.find),
        web.get("/manager/acts", finding.acts),
        web.get("/manager/act", acting.show),
        web.post("/manager/act", acting.press),
        web.get("/manager/accounts/{id}", finding.account),
        web.get("/manager/accounts/{id}/requests", requests.listed),
        web.get("/manager/accounts/{id}/requests/{request}", requests.timeline),
        web.get(on_account, acting.form),
        web.post(on_account, acting.ask),
        web.get(on_user, acting.form),
        web.post(on_user, acting.ask),
    ]


def _pages(gate: Gate) -> list[web.RouteDef]:
    account, contacts, exports = AccountPages(gate), ContactPages(gate), ExportPages(gate)
    routes = [
        web.get("/", account.home),
        web.get("/contacts", contacts.show),
        web.post("/exports", contacts.ask),
        web.get("/exports/{id}", exports.show),
        web.post("/exports/{id}", exports.submit),
        web.get("/exports/{id}/file", exports.file),
    ]
    routes += _settings(gate)
    setup = SetupPages(gate)
    routes += [web.get("/setup", setup.show), web.post("/setup", setup.submit)]
    if gate.settings.local is not None:
        phone = PhonePages(gate, gate.settings.local)
        routes += [web.get("/phone", phone.show), web.post("/phone", phone.act_as)]
    return routes


def _settings(gate: Gate) -> list[web.RouteDef]:
    overview, number, password = OverviewPages(gate), NumberPages(gate), PasswordPages(gate)
    return [
        web.get("/account", overview.show),
        web.get("/account/help", overview.help),
        web.post("/account/computers", overview.computers),
        web.post("/account/activity", overview.not_me),
        web.post("/account/two-factor", TwoFactorPages(gate).submit),
        web.get("/account/number", number.show),
        web.post("/account/number", number.submit),
        web.get("/account/users/{id}/number", number.show),
        web.post("/account/users/{id}/number", number.submit),
        web.get("/account/password", password.show),
        web.post("/account/password", password.submit),
    ]
