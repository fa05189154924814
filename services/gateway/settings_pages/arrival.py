"""Who comes to a settings page: the session, the account as enrolment shows it, and what the page says once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countersign.client import Client
from services.gateway.enrolment import Acting
from services.gateway.guard import UnfitFormError
from services.gateway.render import see_other
from services.gateway.settings_pages import store
from services.gateway.settings_pages.decide import member_of
from services.gateway.settings_pages.model import Message, Said
from services.gateway.visitor import LOOKS_AGAIN, VISITOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiohttp import web

    from services.gateway.enrolment import Refusal
    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.settings_pages.model import Account, Block, Member
    from services.gateway.visitor import Visitor
    from services.gateway.words import Words

NUMBER_CHARACTERS_MAX = 200  # chosen: as much as enrolment reads of what was pasted
# What enrolment's refusals are called on the pages; any other one is said in general.
_SAID_REFUSALS = frozenset(
    {"number_in_force", "same_number", "number_missing", "none_given", "grant_refused", "number_changed"}
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A signed-in member at a settings page."""

    visitor: Visitor
    session: Session
    account: Account
    me: Member

    @property
    def acting(self) -> Acting:
        """The member as enrolment is told who acts."""
        client = Client(ip=self.visitor.ip, locale=self.visitor.words.language)
        return Acting(user_id=self.session.user_id, account_id=self.session.account_id, client=client)


async def arrive(gate: Gate, request: web.Request) -> Arrival | web.Response:
    """Return who has come, or where to send somebody who is not signed in.

    Raises UnfitFormError for somebody whom enrolment does not know as a member of the account.
    """
    visitor = request[VISITOR]
    session = visitor.signed_in
    if session is None:
        return see_other("/login")
    account = await gate.enrolment.account(session.account_id)
    me = member_of(account, session.user_id)
    if account is None or me is None:
        raise UnfitFormError(404, "no_member")
    return Arrival(visitor, session, account, me)


async def refuse(
    gate: Gate, visitor: Visitor, page: str, said: Iterable[Said], typed: dict[str, str] | None = None
) -> web.Response:
    """Send the browser to a page that says what is wrong and has what was typed."""
    await store.say(gate.pool, visitor, page, Message(kind="problem", said=tuple(said), typed=typed or {}))
    return see_other(page)


async def done(gate: Gate, visitor: Visitor, page: str, text: str) -> web.Response:
    """Send the browser to a page that says what was done."""
    await store.say(gate.pool, visitor, page, Message(kind="done", said=(Said(text),)))
    return see_other(page)


async def heard(gate: Gate, request: web.Request, page: str) -> dict[str, Any]:
    """Return what the page has to say, as templates take it; once, and not to a page that looks again by itself."""
    visitor = request[VISITOR]
    shown: dict[str, Any] = {"problems": (), "typed": {}, "problem_of": {}}
    message = None if LOOKS_AGAIN in request.headers else await store.hear(gate.pool, visitor, page)
    if message is None:
        return shown
    shown["typed"] = message.typed
    if message.kind == "problem":
        shown["problems"] = message.said
        shown["problem_of"] = {said.href: said.text for said in message.said}
        shown["problem"] = shown["problem_of"].get("#code")
    elif message.kind == "done":
        shown["done"] = message.said[0].text
    return shown


def said_of(t: Words, refusal: Refusal) -> Said:
    """Return what a person is told of a refusal, at the field of the number."""
    if refusal.kind == "number_refused":
        reason = f"settings.refused.{refusal.reason}"
        return Said(t(reason if reason in t.names() else "settings.refused.unreadable"), "#number")
    kind = refusal.kind if refusal.kind in _SAID_REFUSALS else "other"
    return Said(t(f"settings.refusal.{kind}"), "#number" if kind == "same_number" else None)


def said_of_blocks(t: Words, blocked_by: Iterable[Block]) -> list[Said]:
    """Return a sentence for each thing in the way of turning on, with the page on which it is mended."""
    said = []
    for block in blocked_by:
        where = None if block.user_id is None else f"/account/users/{block.user_id}/number"
        key = {"owner.missing": "owner", "number.missing": "missing"}.get(block.reason, "unconfirmed")
        said.append(Said(t(f"settings.block.{key}", name=block.name or ""), where if key == "missing" else None))
    return said
