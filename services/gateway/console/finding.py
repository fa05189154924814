"""Finding an account and seeing its state, and the list of what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import web

from services.gateway.console import store
from services.gateway.console.decide import held_until, locked_of, number_state
from services.gateway.console.decide_requests import RECENT_ON_ACCOUNT_MAX, row_of
from services.gateway.decide import EMAIL_CHARACTERS_MAX, folded
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.pages.contacts import id_in
from services.gateway.render import see_other
from services.gateway.settings_pages.arrival import heard, refuse
from services.gateway.settings_pages.decide import people_page
from services.gateway.settings_pages.model import Said
from services.gateway.upstream import UpstreamAwayError
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from services.gateway.console.model import Account, ActSeen, RequestSeen
    from services.gateway.gate import Gate
    from services.gateway.model import Session

FRONT = "/manager"


class FindingPages:
    """GET / and /manager, POST /manager, GET /manager/accounts/{id} and /manager/acts."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def home(self, request: web.Request) -> web.Response:
        """Lead to the console's first page."""
        del request
        return see_other(FRONT)

    async def front(self, request: web.Request) -> web.Response:
        """Greet an account manager and ask for an account."""
        visitor = request[VISITOR]
        if visitor.pending is not None:
            return see_other("/login/code")
        if visitor.signed_in is None:
            return see_other("/login")
        said = await heard(self._gate, request, FRONT)
        return self._gate.pages.page(request, "console/find.html", here="find", **said)

    async def find(self, request: web.Request) -> web.Response:
        """Lead to the account of an e-mail address or an id."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        if visitor.signed_in is None:
            return see_other("/login")
        typed = form.get("account", "")[:EMAIL_CHARACTERS_MAX]
        found = await store.find(self._gate.pool, folded(typed), _id_of(typed)) if typed else None
        if found is not None:
            return see_other(f"/manager/accounts/{found}")
        key = "console.find.none" if typed else "console.find.empty"
        return await refuse(self._gate, visitor, FRONT, [Said(visitor.words(key), "#account")], {"account": typed})

    async def account(self, request: web.Request) -> web.Response:
        """Show the state of an account and of its members."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        account = await known_account(self._gate, request)
        refused = await store.refused_at(self._gate.pool, account.account_id)
        people = people_page(account.members, session.user_id, request.query.get("people", ""))
        names = {member.user_id: member.name for member in account.members}
        recent = await recent_of(self._gate, account.account_id)
        return self._gate.pages.page(
            request,
            "console/account.html",
            account=account,
            people=people,
            recent=None if recent is None else [row_of(one, names) for one in recent[:RECENT_ON_ACCOUNT_MAX]],
            emails=await store.people(self._gate.pool, [member.user_id for member in people.people]),
            numbers={member.user_id: number_state(member) for member in account.members},
            locked=locked_of(account.members, refused),
            held=held_until(account, session.now),
            staff=account.account_id == session.account_id,
            here="find",
        )

    async def acts(self, request: web.Request) -> web.Response:
        """Show what was done last, by this account manager or by all."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        everybody = "all" in request.query
        acts = await self._gate.manager_calls.acts(None if everybody else session.user_id)
        names = await store.people(self._gate.pool, _ids_in(acts, session))
        return self._gate.pages.page(
            request, "console/acts.html", acts=acts, names=names, everybody=everybody, here="acts"
        )


async def known_account(gate: Gate, request: web.Request) -> Account:
    """Return the account that the address names. Raises 404."""
    account = await gate.manager_calls.account(id_in(request.match_info["id"]))
    if account is None:
        raise web.HTTPNotFound
    return account


async def recent_of(gate: Gate, account_id: UUID) -> list[RequestSeen] | None:
    """Return the latest requests of an account, or None if they cannot be read now: the rest of its page can."""
    try:
        return await gate.manager_calls.requests(account_id, None)
    except UpstreamAwayError as away:
        gate.log.warning("requests_unreadable", account_id=str(account_id), reason=str(away)[:200])
        return None


def _id_of(typed: str) -> UUID | None:
    try:
        return UUID(typed)
    except ValueError:
        return None


def _ids_in(acts: list[ActSeen], session: Session) -> set[UUID]:
    found = {session.user_id}
    for act in acts:
        found |= {act.manager_id} if act.user_id is None else {act.manager_id, act.user_id}
    return found
