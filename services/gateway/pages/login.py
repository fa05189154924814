"""The log-in: e-mail and password, and the session that waits for its decision."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from countersign.client import Client, login_authorised
from services.gateway import store
from services.gateway.browser_key import form_id_of
from services.gateway.decide import EMAIL_CHARACTERS_MAX, given_up
from services.gateway.guard import StaleFormError, form_of
from services.gateway.handover import resume
from services.gateway.hosts import origin_of
from services.gateway.password_check import person_of
from services.gateway.passwords import PasswordsBusyError
from services.gateway.render import see_other
from services.gateway.setup import store as setup
from services.gateway.setup.decide import way_after_password
from services.gateway.setup.entrance import enter
from services.gateway.visitor import VISITOR, is_secret, new_secret, session_id_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from services.gateway.gate import Gate
    from services.gateway.model import Person, Session
    from services.gateway.visitor import Visitor

WAIT_IN_POST_SECONDS = 2.0  # chosen: then the browser is sent on and waits there


class LoginPages:
    """GET and POST /login, POST /logout."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the form."""
        visitor = request[VISITOR]
        if visitor.signed_in is not None or await resume(self._gate, visitor):
            return see_other(self._gate.front)
        return self._form(request)

    async def submit(self, request: web.Request) -> web.Response:
        """Check e-mail and password; if both are right, ask for access and send the browser on to wait for it."""
        visitor = request[VISITOR]
        t = visitor.words
        try:
            form = await form_of(request, self._origin)
        except StaleFormError as stale:
            return self._stale(request, stale)
        email, password = form.get("email", ""), form.get("password", "")
        if not email.strip() or not password:
            return _again(visitor, t("login.error.empty"), email)
        try:
            person = await person_of(self._gate, visitor, email, password)
        except (store.TryRefusedError, PasswordsBusyError) as reason:
            wait = t.duration(reason.wait) if isinstance(reason, store.TryRefusedError) else ""
            kind = "limited" if wait else "busy"
            return _again(visitor, t(f"login.error.{kind}", wait=wait), email)
        if person is None:
            return _again(visitor, t("login.error.wrong"), email)
        try:
            return await self._led_on(visitor, person, form, email)
        except OSError:  # away: the form will hold what was typed when the service is back
            visitor.leave("", email=email[:EMAIL_CHARACTERS_MAX])
            raise

    async def _led_on(self, visitor: Visitor, person: Person, form: Mapping[str, str], email: str) -> web.Response:
        """Lead whoever gave the right password to the decision, or after a reset to entering a number."""
        reset = await setup.open_reset(self._gate.pool, person.user_id, visitor.seen_from)
        way = way_after_password(reset)
        if way == "set_up":
            return await enter(self._gate, visitor, person, form.get("once", ""))
        if way == "refuse":
            return _again(visitor, visitor.words("setup.elsewhere"), email)
        if not await self._still_open(visitor, person):
            await self._ask(visitor, person, form.get("once", ""))
        return see_other("/login/code")

    def _stale(self, request: web.Request, stale: StaleFormError) -> web.Response:
        """Go on to where the session is, if the browser has one by now; else show the form with what was typed."""
        visitor = request[VISITOR]
        if visitor.session is not None:
            if not _led_here(visitor.session, stale.form_id):
                visitor.leave(visitor.words("login.elsewhere"))
            return see_other("/login/code" if visitor.signed_in is None else self._gate.front)
        problem = visitor.words("login.error.stale")
        if visitor.known:
            return _again(visitor, problem, stale.email)
        # A browser that keeps no cookies would find nothing at the end of a redirect.
        return self._form(request, 403, problem=problem, email=stale.email[:EMAIL_CHARACTERS_MAX])

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session, and the browser's secret with it."""
        visitor = request[VISITOR]
        try:
            await form_of(request, self._origin)
        except StaleFormError:
            if visitor.session is not None:
                raise
            # The second sending of the form: there is nothing left to end.
            return see_other("/login")
        await store.end(self._gate.pool, visitor.session_id)
        visitor.secret = new_secret()
        visitor.leave(visitor.words("login.logged_out"))
        return see_other("/login")

    def _form(self, request: web.Request, status: int = 200, **context: str) -> web.Response:
        visitor = request[VISITOR]
        email = visitor.remark.email if visitor.remark is not None else ""
        pending = visitor.pending is not None and visitor.remark is None
        return self._gate.pages.page(request, "login.html", status, **{"email": email, "pending": pending, **context})

    async def _still_open(self, visitor: Visitor, person: Person) -> bool:
        """Tell whether this browser already waits with a request of this person: then there is no new one.

        Somebody else's is given up first.
        """
        pending = visitor.pending
        if pending is None:
            return False
        found = await self._gate.decisions.wait(pending.request_id, 0)
        if pending.user_id == person.user_id:
            undecided = found.is_undecided and not given_up(pending)
            return undecided or found.state in {"challenged", "granted"}
        if found.challenge is not None and found.state == "challenged":
            await self._gate.challenges.cancel(found.challenge.challenge_id)
        return False

    async def _ask(self, visitor: Visitor, person: Person, form: str) -> None:
        """Begin a pending session under a new secret, publish its request, and wait a little for the decision.

        Secret and request follow from the form, so a form sent twice leads to one session and one text.
        """
        gate = self._gate
        now = await gate.pool.fetchval("SELECT now()")
        # A form without an id of ours has no second sending.
        hidden = form if is_secret(form) else new_secret()
        client = Client(ip=visitor.ip, locale=visitor.words.language)
        said = (gate.site.value, str(person.user_id), client.model_dump_json())
        held, secret = visitor.session_id, gate.browser_key.pending_secret(visitor.secret, hidden, *said)
        request_id = gate.browser_key.request_id(secret)
        built = gate.requests.build(
            "login",
            person.account_id,
            person.user_id,
            client,
            login_authorised(request_id, person.user_id, secret),
            request_id=request_id,
        )
        begun = await store.begin_pending(
            gate.pool,
            session_id_of(secret),
            held,
            gate.site,
            person.user_id,
            built,
            visitor.seen_from,
            form=form_id_of(hidden),
        )
        visitor.secret = secret
        if not begun and not (await gate.decisions.wait(request_id, 0)).is_undecided:
            return
        # Of a form sent twice the request is published twice, byte for byte the same, as the first sending may have
        # died before it published.
        await gate.requests.submit(built, now)
        gate.log.info("login_requested", request_id=str(request_id), user_id=str(person.user_id))
        try:
            async with asyncio.timeout(
                WAIT_IN_POST_SECONDS + 0.3
            ):  # the page after this one waits for the verifier too
                await gate.decisions.wait(request_id, WAIT_IN_POST_SECONDS)
        except OSError:  # away, or a time-out
            gate.log.warning("verifier_away", request_id=str(request_id), user_id=str(person.user_id))


def _again(visitor: Visitor, problem: str, email: str) -> web.Response:
    """Lead back to the form, which tells the problem and holds what was typed."""
    visitor.leave(problem, problem=True, email=email[:EMAIL_CHARACTERS_MAX])
    return see_other("/login")


def _led_here(session: Session | None, form: str) -> bool:
    """Return True if the session came from the very form that is sent now: its first sending was answered already."""
    return session is not None and session.form is not None and session.form == form_id_of(form)
