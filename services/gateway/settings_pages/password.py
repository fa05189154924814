"""The password asked again, before a number or the setting changes; then back to where the person was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.password_check import person_of
from services.gateway.passwords import PasswordsBusyError
from services.gateway.render import see_other
from services.gateway.settings_pages import store
from services.gateway.settings_pages.arrival import heard
from services.gateway.settings_pages.decide import back_to, password_is_fresh
from services.gateway.settings_pages.model import Message, Said
from services.gateway.store import TryRefusedError
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate

PAGE = "/account/password"


def ask_password(to: str) -> web.Response:
    """Send the browser to the page that asks for the password and leads back."""
    return see_other(f"{PAGE}?to={to}")


class PasswordPages:
    """GET and POST /account/password."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Ask for the password; whoever gave it a moment ago goes on."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        to = back_to(request.query.get("to", ""))
        if password_is_fresh(session):
            return see_other(_onward(to))
        said = await heard(self._gate, request, PAGE)
        return self._gate.pages.page(request, "settings/password.html", to=to, here="account", **said)

    async def submit(self, request: web.Request) -> web.Response:
        """Check the password with the same limits as a log-in."""
        form = await form_of(request, self._origin)
        gate, visitor = self._gate, request[VISITOR]
        t, session, to = visitor.words, visitor.signed_in, back_to(form.get("to", ""))
        if session is None:
            return see_other("/login")
        if not form.get("password"):
            return await self._refused(request, to, t("settings.password.empty"))
        try:
            person = await person_of(gate, visitor, session.email, form["password"])
        except TryRefusedError as refused:
            return await self._refused(request, to, t("login.error.limited", wait=t.duration(refused.wait)))
        except PasswordsBusyError:
            return await self._refused(request, to, t("login.error.busy"))
        if person is None or person.user_id != session.user_id:
            return await self._refused(request, to, t("settings.password.wrong"))
        await store.password_given(gate.pool, visitor.session_id)
        gate.log.info("password_given_again", user_id=str(session.user_id))
        return see_other(_onward(to))

    async def _refused(self, request: web.Request, to: str, text: str) -> web.Response:
        message = Message(kind="problem", said=(Said(text, "#password"),))
        await store.say(self._gate.pool, request[VISITOR], PAGE, message)
        return ask_password(to)


def _onward(to: str) -> str:
    return f"{to}#security" if to == "/account" else to
