"""Into a setting-up session, and nowhere else from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from services.gateway.browser_key import form_id_of
from services.gateway.model import Stage
from services.gateway.render import see_other
from services.gateway.setup import store
from services.gateway.visitor import VISITOR, is_secret, new_secret, session_id_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.gateway.gate import Gate
    from services.gateway.model import Person, Session
    from services.gateway.visitor import Visitor

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = "/setup"
# Beside its own page: leaving, what pages are made of, and the phones of the local stack.
_OPEN = ("/logout", "/static/", "/phone")


def session_of(visitor: Visitor) -> Session | None:
    """Return the session if it is one that sets a number up."""
    return visitor.session if visitor.session is not None and visitor.session.stage is Stage.SETUP else None


async def enter(gate: Gate, visitor: Visitor, person: Person, form: str) -> web.Response:
    """Begin the session. A form sent twice leads to the same one."""
    hidden = form if is_secret(form) else new_secret()
    held = visitor.session_id
    secret = gate.browser_key.pending_secret(visitor.secret, hidden, "setup", gate.site.value, str(person.user_id))
    await store.begin(
        gate.pool,
        session_id_of(secret),
        held,
        gate.site,
        person,
        gate.browser_key.request_id(secret),
        visitor.seen_from,
        form=form_id_of(hidden),
    )
    visitor.secret = secret
    gate.log.info("setup_begun", user_id=str(person.user_id))
    return see_other(PAGE)


@web.middleware
async def nothing_else(request: web.Request, handler: Handler) -> Any:
    """Lead every other page of somebody who has to enter a number to where that is done."""
    visitor = request.get(VISITOR)  # what pages are made of is served without looking for one
    bound = visitor is not None and session_of(visitor) is not None
    if bound and request.path != PAGE and not request.path.startswith(_OPEN):
        return see_other(PAGE)
    return await handler(request)
