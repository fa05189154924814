"""The Overview: who uses the account, from which computers, what happened lately, and how it is protected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from services.gateway import store as sessions
from services.gateway.catching_up import until
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.pages.code import SAID
from services.gateway.render import see_other
from services.gateway.settings_pages import store
from services.gateway.settings_pages.arrival import arrive, done, heard
from services.gateway.settings_pages.code_step import current, shown
from services.gateway.settings_pages.decide import (
    PLACES_MAX,
    held_until,
    others_blocking,
    people_page,
    security_of,
    warned_of,
)
from services.gateway.visitor import VISITOR, new_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.gateway.gate import Gate
    from services.gateway.settings_pages.arrival import Arrival
    from services.gateway.settings_pages.model import Activity

PAGE = "/account"
_OWN_WORDS = frozenset({"granted", "challenged"})


class OverviewPages:
    """GET /account and /account/help, POST /account/computers and /account/activity."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the account."""
        gate = self._gate
        here = await arrive(gate, request)
        if isinstance(here, web.Response):
            return here
        places = await store.places_of(gate.pool, here.session.account_id, here.visitor.session_id)
        activity = await store.activity_of(gate.pool, here.session.account_id, here.session.user_id)
        return gate.pages.page(
            request,
            "settings/overview.html",
            **await heard(gate, request, PAGE),
            **await self._security(here),
            account=here.account,
            me=here.me,
            people=people_page(here.account.members, here.me.user_id, request.query.get("people", "")),
            places=places[:PLACES_MAX],
            places_more=max(0, len(places) - PLACES_MAX),
            activity=[(one, _outcome(one)) for one in activity],
            other="other" in request.query,
            account_manager=gate.settings.account_manager,
            here="account",
        )

    async def help(self, request: web.Request) -> web.Response:
        """Explain when a code is asked for, and what to do when none comes or the phone is gone."""
        if request[VISITOR].signed_in is None:
            return see_other("/login")
        manager = self._gate.settings.account_manager
        return self._gate.pages.page(request, "settings/help.html", account_manager=manager, here="account")

    async def computers(self, request: web.Request) -> web.Response:
        """Forget one computer or all of them, which owners may; or log out the other browsers of this user."""
        form = await form_of(request, self._origin)
        here = await arrive(self._gate, request)
        if isinstance(here, web.Response):
            return here
        t = here.visitor.words
        if form.get("do") == "others":
            await self._end_others(here)
            return await done(self._gate, here.visitor, PAGE, t("settings.computers.logged_out"))
        if here.me.role != "owner" or form.get("do") not in {"forget", "forget_all"}:
            raise web.HTTPNotFound
        place = form.get("place", "") if form["do"] == "forget" else None
        if not await self._forget(here, place):
            key = "forgotten" if place is not None else "all_forgotten"
            return await done(self._gate, here.visitor, PAGE, t(f"settings.computers.{key}"))
        return await self._leave(here)

    async def not_me(self, request: web.Request) -> web.Response:
        """Undo what somebody else may have begun: forget the place, cancel open codes, end the other sessions."""
        form = await form_of(request, self._origin)
        here = await arrive(self._gate, request)
        if isinstance(here, web.Response):
            return here
        activity = await store.activity_of(self._gate.pool, here.session.account_id, here.session.user_id)
        meant = next((one for one in activity if _is_meant(one, form)), None)
        if meant is None:
            raise web.HTTPNotFound
        await self._end_others(here)
        for challenge_id in await store.open_challenges(self._gate.pool, here.session.account_id, here.session.user_id):
            await self._gate.challenges.cancel(challenge_id)
        if meant.place is not None and await self._forget(here, meant.place):
            return await self._leave(here)
        return await done(self._gate, here.visitor, PAGE, here.visitor.words("settings.activity.undone"))

    async def _security(self, here: Arrival) -> dict[str, Any]:
        """Return what the Security section shows, with the code box where a change has begun."""
        section = security_of(here.account, here.me)
        context: dict[str, Any] = {
            "section": section,
            "held_until": held_until(here.account, here.me, here.session.now),
            "blocked_by": others_blocking(here.account.blocked_by, here.me.user_id),
            "warned": warned_of(here.account, here.me.user_id),
        }
        draft = await current(self._gate, here.visitor, "two_factor") if section == "form" else None
        if draft is None:
            return {**context, "state": "overview", "draft": None}
        return {**context, **await shown(self._gate, here.visitor, draft)}

    async def _end_others(self, here: Arrival) -> None:
        ended = await store.end_others(self._gate.pool, here.session.user_id, here.visitor.session_id)
        self._gate.log.info("other_sessions_ended", user_id=str(here.session.user_id), ended=ended)

    async def _forget(self, here: Arrival, place: str | None) -> bool:
        """Forget places and wait until they are out of the list; return True if this session began at one of them.

        Forgetting a place ends the sessions that began there.
        """
        places = await store.places_of(self._gate.pool, here.session.account_id, here.visitor.session_id)
        gone = [known for known in places if place is None or known.place == place]
        if not gone and place is not None:
            return False
        if not await self._gate.enrolment.forget_places(here.acting, place):
            raise web.HTTPNotFound
        names = {known.place for known in gone}

        async def are_gone() -> bool:
            left = await store.places_of(self._gate.pool, here.session.account_id, here.visitor.session_id)
            return names.isdisjoint(known.place for known in left)

        await until(are_gone)
        return any(known.here for known in gone)

    async def _leave(self, here: Arrival) -> web.Response:
        """Log out: the computer that this session began at is forgotten."""
        await sessions.end(self._gate.pool, here.visitor.session_id)
        here.visitor.secret = new_secret()
        return see_other("/login")


def _is_meant(one: Activity, form: Mapping[str, str]) -> bool:
    """Tell whether a form is about this row; its fields are those that the row's form carries."""
    return (one.place or "", one.at.isoformat()) == (form.get("place", ""), form.get("at", ""))


def _outcome(one: Activity) -> str:
    """Return how the pages call what became of a request."""
    return one.outcome if one.outcome in _OWN_WORDS else SAID.get(one.outcome, "over")
