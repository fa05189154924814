"""The page that takes and confirms a number after a reset; then it leads to the log-in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from countersign.client import Client
from services.gateway import store as sessions
from services.gateway.catching_up import until
from services.gateway.enrolment import Acting, Refusal
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.render import see_other
from services.gateway.settings_pages.arrival import NUMBER_CHARACTERS_MAX, heard, refuse, said_of
from services.gateway.settings_pages.code_step import BUTTONS, LOOK_AGAIN_SECONDS, begin, current, press, shown
from services.gateway.settings_pages.model import Draft, Said
from services.gateway.setup import store
from services.gateway.setup.entrance import PAGE, session_of
from services.gateway.visitor import VISITOR, new_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.visitor import Visitor


class SetupPages:
    """GET and POST /setup."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the form, or how far the number has come."""
        visitor = request[VISITOR]
        session = session_of(visitor)
        if session is None:
            return see_other(self._gate.front)
        draft = await current(self._gate, visitor, "number")
        if await store.open_reset(self._gate.pool, session.user_id, visitor.seen_from) is None:
            return await self._leave(visitor, confirmed=draft is not None)
        context: dict[str, Any] = {"state": "form", "draft": None}
        if draft is not None:
            context = await shown(self._gate, visitor, draft)
            if context["state"] == "right":  # until enrolment has read the grant
                context |= {"state": "moment", "poll": 1, "refresh": LOOK_AGAIN_SECONDS}
        return self._gate.pages.page(
            request,
            "setup.html",
            account_manager=self._gate.settings.account_manager,
            **await heard(self._gate, request, PAGE),
            **context,
        )

    async def submit(self, request: web.Request) -> web.Response:
        """Take the number, or do what a button of the code box says."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        session = session_of(visitor)
        if session is None:
            return see_other(self._gate.front)
        if await store.open_reset(self._gate.pool, session.user_id, visitor.seen_from) is None:
            return see_other(PAGE)
        if form.get("do") in BUTTONS:
            draft = await current(self._gate, visitor, "number")
            return see_other(PAGE) if draft is None else await self._coded(visitor, session, form, draft)
        return await self._entered(visitor, session, form)

    async def _entered(self, visitor: Visitor, session: Session, form: Mapping[str, str]) -> web.Response:
        gate = self._gate
        number = form.get("number", "")[:NUMBER_CHARACTERS_MAX]
        client = Client(ip=visitor.ip, locale=visitor.words.language)
        acting = Acting(user_id=session.user_id, account_id=session.account_id, client=client)
        request_id = visitor.id_of("number", form.get("once", ""), str(session.user_id), number)
        begun = await gate.enrolment.give_number(acting, session.user_id, number, request_id)
        if isinstance(begun, Refusal):
            return await refuse(gate, visitor, PAGE, [said_of(visitor.words, begun)], {"number": number})
        if begun.request_id is None or begun.needs != "confirm_number":
            return see_other(PAGE)  # a number is in force meanwhile: the page says so
        draft = Draft(
            page="number",
            user_id=session.user_id,
            request_id=begun.request_id,
            needs=begun.needs,
            number_id=begun.number_id,
            number_hint=begun.number_hint,
            steps=1,
            forget=(),
            begun_at=session.now,
            now=session.now,
        )
        await begin(gate, visitor, draft)
        return see_other(PAGE)

    async def _coded(self, visitor: Visitor, session: Session, form: Mapping[str, str], draft: Draft) -> web.Response:
        pressed = await press(self._gate, visitor, form, draft)
        if pressed.problem is not None:
            return await refuse(self._gate, visitor, PAGE, [Said(pressed.problem, "#code")])
        if pressed.grant is not None:
            await self._until_in_force(visitor, session)
        return see_other(PAGE)

    async def _until_in_force(self, visitor: Visitor, session: Session) -> None:
        """Wait a little until enrolment has read the grant, so that the next page leads on."""

        async def is_closed() -> bool:
            return await store.open_reset(self._gate.pool, session.user_id, visitor.seen_from) is None

        await until(is_closed)

    async def _leave(self, visitor: Visitor, *, confirmed: bool) -> web.Response:
        """End the session: the number is in force, or the time to enter one is over."""
        await sessions.end(self._gate.pool, visitor.session_id)
        visitor.secret = new_secret()
        if confirmed:
            visitor.leave(visitor.words("setup.done"))
        return see_other("/login")
