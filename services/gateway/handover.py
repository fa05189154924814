"""The hand-over of a signed-in session to the browser that logged in, over a connection that may break meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.gateway import store
from services.gateway.decide import HANDED_OVER_WITHIN
from services.gateway.visitor import session_id_of

if TYPE_CHECKING:
    from services.gateway.gate import Gate
    from services.gateway.visitor import Visitor


async def resume(gate: Gate, visitor: Visitor) -> bool:
    """Give the browser the session that its pending one became, if the answer that brought it was lost.

    Only for HANDED_OVER_WITHIN, and only until a browser shows the new secret: from then on the pending secret is
    worth nothing, so whoever copied it before the log-in has nothing after it.
    """
    if visitor.signed_in is not None:
        return False
    secret = gate.browser_key.signed_in_secret(visitor.secret)
    if not await store.is_unheld(gate.pool, session_id_of(secret), gate.site, HANDED_OVER_WITHIN):
        return False
    visitor.secret = secret
    return True


async def give_up(gate: Gate, visitor: Visitor) -> None:
    """End the session that the visitor's secret became, if no browser has shown it: the visitor cancelled."""
    await store.end_unheld(gate.pool, session_id_of(gate.browser_key.signed_in_secret(visitor.secret)))
