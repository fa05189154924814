"""Turning two-factor authentication on: the checkbox, the number and its code, and one Save for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from services.gateway.enrolment import Refusal
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.render import see_other
from services.gateway.settings_pages import store
from services.gateway.settings_pages.arrival import (
    NUMBER_CHARACTERS_MAX,
    arrive,
    done,
    refuse,
    said_of,
    said_of_blocks,
)
from services.gateway.settings_pages.code_step import BUTTONS, begin, current, press
from services.gateway.settings_pages.decide import (
    others_blocking,
    password_is_fresh,
    places_kept,
    security_of,
    ticked_off,
)
from services.gateway.settings_pages.model import Draft, Message, Said
from services.gateway.settings_pages.password import ask_password

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.gateway.gate import Gate
    from services.gateway.settings_pages.arrival import Arrival

PAGE = "/account"  # without a fragment where there is a code box: browsers then put the focus on its field
SECTION = "#security"


class TwoFactorPages:
    """POST /account/two-factor, the form of the Overview's Security section."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def submit(self, request: web.Request) -> web.Response:
        """Do what the pressed button says. Nothing is turned on by anything but Save."""
        form = await form_of(request, self._origin)
        here = await arrive(self._gate, request)
        if isinstance(here, web.Response):
            return here
        if security_of(here.account, here.me) != "form":
            return see_other(f"{PAGE}{SECTION}")  # no member can turn it off, and only owners turn it on
        draft = await current(self._gate, here.visitor, "two_factor")
        if form.get("do") in BUTTONS:
            return see_other(f"{PAGE}{SECTION}") if draft is None else await self._coded(here, form, draft)
        return await self._asked(here, form)

    async def _asked(self, here: Arrival, form: Mapping[str, str]) -> web.Response:
        """Save at once where the owner's number is confirmed, else send a code to it."""
        gate, visitor, t = self._gate, here.visitor, here.visitor.words
        typed = {name: value[:NUMBER_CHARACTERS_MAX] for name, value in form.items() if _is_kept(name)}
        if "two_factor" not in form:
            return await refuse(gate, visitor, PAGE, [Said(t("settings.security.untick"), "#two_factor")], typed)
        if not password_is_fresh(here.session):
            await store.say(gate.pool, visitor, PAGE, Message(kind="typed", typed=typed))
            return ask_password(PAGE)
        if others := others_blocking(here.account.blocked_by, here.me.user_id):
            return await refuse(gate, visitor, PAGE, said_of_blocks(t, others), typed)
        if here.me.number is not None:
            return await self._save(here, None, ticked_off(form))
        return await self._send(here, form, typed)

    async def _send(self, here: Arrival, form: Mapping[str, str], typed: dict[str, str]) -> web.Response:
        """Have a code sent to the owner's number, and keep what Save will do with it."""
        gate, visitor, t = self._gate, here.visitor, here.visitor.words
        number = typed.get("number")
        request_id = visitor.id_of("two_factor", form.get("once", ""), number or "")
        if number is None and here.me.given_number is not None:
            begun = await gate.enrolment.confirm_number(here.acting, request_id)
        else:
            begun = await gate.enrolment.give_number(here.acting, here.me.user_id, number or "", request_id)
        if isinstance(begun, Refusal):
            return await refuse(gate, visitor, PAGE, [said_of(t, begun)], typed)
        if begun.request_id is None or begun.needs != "confirm_number":
            # The number was confirmed meanwhile, in another tab: Save asks for no code any more.
            return see_other(PAGE)
        draft = Draft(
            page="two_factor",
            user_id=here.me.user_id,
            request_id=begun.request_id,
            needs=begun.needs,
            number_id=begun.number_id,
            number_hint=begun.number_hint,
            steps=1,
            forget=await self._forgotten(here, form),
            begun_at=here.session.now,
            now=here.session.now,
        )
        await begin(gate, visitor, draft)
        return see_other(PAGE)

    async def _coded(self, here: Arrival, form: Mapping[str, str], draft: Draft) -> web.Response:
        gate, visitor, t = self._gate, here.visitor, here.visitor.words
        if form.get("do") == "answer" and "two_factor" not in form:
            return await refuse(gate, visitor, PAGE, [Said(t("settings.security.untick"), "#two_factor")])
        pressed = await press(gate, visitor, form, draft)
        if pressed.problem is not None:
            return await refuse(gate, visitor, PAGE, [Said(pressed.problem, "#code")])
        if pressed.grant is None or form.get("do") != "answer":
            return see_other(PAGE)
        return await self._save(here, pressed.grant, ticked_off(form), draft)

    async def _save(
        self, here: Arrival, grant: str | None, forget: Sequence[str], draft: Draft | None = None
    ) -> web.Response:
        """Turn it on, with the grant that confirms the number where the number is new."""
        gate, visitor, t = self._gate, here.visitor, here.visitor.words
        places = await store.places_of(gate.pool, here.session.account_id, visitor.session_id)
        refusal = await gate.enrolment.turn_on(here.acting, grant, places_kept(places, forget))
        if draft is not None:
            await store.drop_draft(gate.pool, visitor.session_id, draft)
        if refusal is None or await self._is_on(here):
            gate.log.info("two_factor_saved", user_id=str(here.session.user_id))
            return await done(gate, visitor, PAGE, t("settings.security.done"))
        if refusal.kind == "blocked":
            return await refuse(gate, visitor, PAGE, said_of_blocks(t, refusal.blocked_by))
        return await refuse(gate, visitor, PAGE, [said_of(t, refusal)])

    async def _is_on(self, here: Arrival) -> bool:
        """Tell whether it is on all the same: another sending of this form has carried it out."""
        account = await self._gate.enrolment.account(here.session.account_id)
        return account is not None and account.two_factor

    async def _forgotten(self, here: Arrival, form: Mapping[str, str]) -> tuple[str, ...]:
        """Return the known places that were not ticked: they are kept with the draft, whatever the form says."""
        places = await store.places_of(self._gate.pool, here.session.account_id, here.visitor.session_id)
        known = {place.place for place in places}
        return tuple(place for place in ticked_off(form) if place in known)


def _is_kept(name: str) -> bool:
    return name in {"two_factor", "number"} or name.startswith(("keep ", "seen "))
