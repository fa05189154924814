"""Numbers: one's own, added, confirmed or changed; and one that an owner gives for another member."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from services.gateway.catching_up import until
from services.gateway.enrolment import Refusal
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.pages.contacts import id_in
from services.gateway.render import see_other
from services.gateway.settings_pages import store
from services.gateway.settings_pages.arrival import NUMBER_CHARACTERS_MAX, arrive, done, heard, refuse, said_of
from services.gateway.settings_pages.code_step import BUTTONS, LOOK_AGAIN_SECONDS, begin, current, press, shown
from services.gateway.settings_pages.decide import member_of, password_is_fresh
from services.gateway.settings_pages.model import Draft, Said
from services.gateway.settings_pages.password import ask_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.gateway.enrolment import Begun
    from services.gateway.gate import Gate
    from services.gateway.settings_pages.arrival import Arrival
    from services.gateway.settings_pages.model import DraftPage, Member

OVERVIEW = "/account"


@dataclass(frozen=True, slots=True)
class Target:
    """Whose number a page is about."""

    page: DraftPage
    path: str
    member: Member


class NumberPages:
    """GET and POST /account/number and /account/users/{id}/number."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the form, or how far the change has come."""
        here = await arrive(self._gate, request)
        if isinstance(here, web.Response):
            return here
        target = _target(request, here)
        if target is None:
            return see_other("/account/number")
        draft = await self._draft(here, target)
        if draft is not None:
            return await self._begun_page(request, here, target, draft)
        if not password_is_fresh(here.session):
            return ask_password(target.path)
        return await self._page(request, here, target, state="form")

    async def submit(self, request: web.Request) -> web.Response:
        """Do what the pressed button says."""
        form = await form_of(request, self._origin)
        here = await arrive(self._gate, request)
        if isinstance(here, web.Response):
            return here
        target = _target(request, here)
        if target is None:
            return see_other("/account/number")
        if form.get("do") in BUTTONS:
            draft = await self._draft(here, target)
            return see_other(target.path) if draft is None else await self._coded(here, form, target, draft)
        if not password_is_fresh(here.session):
            return ask_password(target.path)
        return await self._asked(here, form, target)

    async def _asked(self, here: Arrival, form: Mapping[str, str], target: Target) -> web.Response:
        """Give enrolment the number, or ask for the code to the one that it has."""
        gate, visitor = self._gate, here.visitor
        number = form.get("number", "")[:NUMBER_CHARACTERS_MAX]
        request_id = visitor.id_of("number", form.get("once", ""), str(target.member.user_id), number)
        if form.get("do") == "confirm" and target.page == "number":
            begun = await gate.enrolment.confirm_number(here.acting, request_id)
        else:
            begun = await gate.enrolment.give_number(here.acting, target.member.user_id, number, request_id)
        if isinstance(begun, Refusal):
            typed = {"number": number} if "number" in form else {}
            return await refuse(gate, visitor, target.path, [said_of(visitor.words, begun)], typed)
        return await self._going_on(here, target, begun, steps=2 if begun.needs == "change_number" else 1)

    async def _going_on(self, here: Arrival, target: Target, begun: Begun, *, steps: int) -> web.Response:
        """Wait for the code that enrolment says is needed next, or say that it is done."""
        gate, visitor = self._gate, here.visitor
        if begun.request_id is None or begun.needs is None:
            text = visitor.words("settings.number.given", name=target.member.name, number=begun.number_hint)
            return await done(gate, visitor, OVERVIEW, text)
        draft = Draft(
            page=target.page,
            user_id=target.member.user_id,
            request_id=begun.request_id,
            needs=begun.needs,
            number_id=begun.number_id,
            number_hint=begun.number_hint,
            steps=steps,
            forget=(),
            begun_at=here.session.now,
            now=here.session.now,
        )
        await begin(gate, visitor, draft)
        return see_other(target.path)

    async def _coded(self, here: Arrival, form: Mapping[str, str], target: Target, draft: Draft) -> web.Response:
        gate, visitor = self._gate, here.visitor
        pressed = await press(gate, visitor, form, draft)
        if pressed.given_up:
            return see_other(OVERVIEW)
        if pressed.problem is not None:
            return await refuse(gate, visitor, target.path, [Said(pressed.problem, "#code")])
        if pressed.grant is None:
            return see_other(target.path)
        if draft.needs == "confirm_number":
            await self._in_force(here, draft)
            return see_other(target.path)  # which says so, or waits until enrolment has read the grant
        request_id = visitor.id_of("go_on", str(draft.request_id))
        begun = await gate.enrolment.go_on(here.acting, target.member.user_id, pressed.grant, request_id)
        if isinstance(begun, Refusal):
            await store.drop_draft(gate.pool, visitor.session_id, draft)
            return await refuse(gate, visitor, target.path, [said_of(visitor.words, begun)])
        answer = await self._going_on(here, target, begun, steps=draft.steps)
        await store.drop_draft(gate.pool, visitor.session_id, draft)
        return answer

    async def _begun_page(self, request: web.Request, here: Arrival, target: Target, draft: Draft) -> web.Response:
        context = await shown(self._gate, here.visitor, draft)
        if context["state"] == "right" and draft.needs == "confirm_number":
            if _is_in_force(here.me, draft):
                await store.drop_draft(self._gate.pool, here.visitor.session_id, draft)
                text = here.visitor.words("settings.number.done", number=draft.number_hint)
                return await done(self._gate, here.visitor, OVERVIEW, text)
            context |= {"state": "moment", "poll": 1, "refresh": LOOK_AGAIN_SECONDS}
        return await self._page(request, here, target, **context)

    async def _page(self, request: web.Request, here: Arrival, target: Target, **context: Any) -> web.Response:
        gate = self._gate
        said = await heard(gate, request, target.path)
        return gate.pages.page(
            request,
            "settings/number.html",
            **said,
            member=target.member,
            own=target.page == "number",
            path=target.path,
            other="other" in request.query or "number" in said["typed"],
            protected=here.account.two_factor,
            account_manager=gate.settings.account_manager,
            here="account",
            **context,
        )

    async def _draft(self, here: Arrival, target: Target) -> Draft | None:
        draft = await current(self._gate, here.visitor, target.page)
        return draft if draft is not None and draft.user_id == target.member.user_id else None

    async def _in_force(self, here: Arrival, draft: Draft) -> None:
        """Wait a little until enrolment has read the grant, so that the next page shows the number in force."""

        async def is_in_force() -> bool:
            me = member_of(await self._gate.enrolment.account(here.session.account_id), draft.user_id)
            return me is None or _is_in_force(me, draft)

        await until(is_in_force)


def _target(request: web.Request, here: Arrival) -> Target | None:
    """Return whose number it is; None for an owner who took the long way to their own. Raises 404 for all others.

    Only an owner gives numbers for others, and only for members of the same account.
    """
    if "id" not in request.match_info:
        return Target("number", "/account/number", here.me)
    user_id = id_in(request.match_info["id"])
    if user_id == here.me.user_id:
        return None
    member = member_of(here.account, user_id)
    if member is None or here.me.role != "owner":
        raise web.HTTPNotFound
    return Target("member_number", f"/account/users/{user_id}/number", member)


def _is_in_force(member: Member, draft: Draft) -> bool:
    return member.number is not None and member.number.number_id == draft.number_id
