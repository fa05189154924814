"""The log-in: e-mail and password, and the session that waits for its decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.client import Client, login_authorised, new_id
from countersign.places import place_of
from countersign.policy import PlaceRules
from services.gateway import store
from services.gateway.decide import (
    EMAIL_CHARACTERS_MAX,
    PASSWORD_CHARACTERS_MAX,
    folded,
    given_up,
    may_use,
    tries_of,
)
from services.gateway.guard import Stale, form_of
from services.gateway.passwords import Busy
from services.gateway.render import see_other
from services.gateway.settings import origin_of
from services.gateway.visitor import VISITOR, new_secret, session_id_of

if TYPE_CHECKING:
    from aiohttp import web

    from services.gateway.gate import Gate
    from services.gateway.model import Person
    from services.gateway.visitor import Visitor

WAIT_IN_POST_SECONDS = 2.0  # chosen: then the browser is sent on and waits there
# Which addresses are worth remembering is the risk-evaluator's policy; to count tries every one is a place.
_EVERY_ADDRESS = PlaceRules(unusable=())


class LoginPages:
    """GET and POST /login, POST /logout."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the form."""
        visitor = request[VISITOR]
        if visitor.signed_in is not None:
            return see_other(self._gate.front)
        return self._form(request)

    async def submit(self, request: web.Request) -> web.Response:
        """Check e-mail and password; if both are right, ask for access and send the browser on to wait for it."""
        visitor = request[VISITOR]
        t = visitor.words
        try:
            form = await form_of(request, self._origin)
        except Stale:
            return self._form(request, 403, t("login.error.stale"))
        email, password = form.get("email", ""), form.get("password", "")
        if not email.strip() or not password:
            return self._form(request, 422, t("login.error.empty"), email)
        try:
            person = await self._person(visitor, email, password)
        except store.Refused as refused:
            wait = t.duration(refused.wait)
            return self._form(request, 429, t("login.error.limited", wait=wait), email)
        except Busy:
            response = self._form(request, 503, t("login.error.busy"), email)
            response.headers["Retry-After"] = "3"
            return response
        if person is None:
            return self._form(request, 422, t("login.error.wrong"), email)
        if not await self._still_open(visitor, person):
            await self._ask(visitor, person)
        return see_other("/login/code")

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session, and the browser's secret with it."""
        await form_of(request, self._origin)
        visitor = request[VISITOR]
        await store.end(self._gate.pool, visitor.session_id)
        visitor.secret = new_secret()
        return see_other("/login")

    def _form(
        self, request: web.Request, status: int = 200, problem: str | None = None, email: str = ""
    ) -> web.Response:
        pending = request[VISITOR].pending is not None and problem is None
        return self._gate.pages.page(
            request, "login.html", status, problem=problem, email=email[:EMAIL_CHARACTERS_MAX], pending=pending
        )

    async def _person(self, visitor: Visitor, email: str, password: str) -> Person | None:
        """Return whose e-mail and password these are. Raises Refused and Busy.

        What it takes is the same whether somebody has the address or not: one look, one try, one hash.
        """
        gate = self._gate
        address = folded(email)[:EMAIL_CHARACTERS_MAX]
        person, place_known = await store.person_of(gate.pool, address, visitor.seen_from)
        tries = tries_of(address, place_of(visitor.ip, _EVERY_ADDRESS), place_known=place_known)
        await store.take_try(gate.pool, tries)
        kept = person.password if person is not None else None
        fits = len(password) <= PASSWORD_CHARACTERS_MAX
        right = await gate.passwords.right(kept, password[:PASSWORD_CHARACTERS_MAX]) and fits
        if person is None or not right or not may_use(staff=person.staff, site=gate.site):
            gate.log.info("password_refused", ip=visitor.ip)
            return None
        await store.give_back(gate.pool, tries)
        return person

    async def _still_open(self, visitor: Visitor, person: Person) -> bool:
        """Tell whether this browser already waits with a request of this person: then there is no new one.

        Somebody else's is given up first.
        """
        pending = visitor.pending
        if pending is None:
            return False
        found = await self._gate.decisions.wait(pending.request_id, 0)
        if pending.user_id == person.user_id:
            undecided = found.state == "undecided" and not given_up(pending)
            return undecided or found.state in {"challenged", "granted"}
        if found.challenge is not None and found.state == "challenged":
            await self._gate.challenges.cancel(found.challenge.challenge_id)
        return False

    async def _ask(self, visitor: Visitor, person: Person) -> None:
        """Begin a pending session under a new secret, publish its request, and wait a little for the decision."""
        gate = self._gate
        now = await gate.pool.fetchval("SELECT now()")
        held, secret, request_id = visitor.session_id, new_secret(), new_id(now)
        built = gate.requests.build(
            "login",
            person.account_id,
            person.user_id,
            Client(ip=visitor.ip, locale=visitor.words.language),
            login_authorised(request_id, person.user_id, secret),
            request_id=request_id,
        )
        await store.begin_pending(
            gate.pool, session_id_of(secret), held, gate.site, person.user_id, built, visitor.seen_from
        )
        visitor.secret = secret
        await gate.requests.submit(built, now)
        gate.log.info("login_requested", request_id=str(request_id), user_id=str(person.user_id))
        try:
            await gate.decisions.wait(request_id, WAIT_IN_POST_SECONDS)
        except ConnectionError:
            gate.log.warning("verifier_away", request_id=str(request_id))
