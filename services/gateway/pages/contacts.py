"""Contact lists and their contacts, and the form that asks for an export."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_never
from uuid import UUID

from aiohttp import web

from countersign.client import Client
from services.gateway import store
from services.gateway.guard import UnfitFormError, form_of
from services.gateway.hosts import origin_of
from services.gateway.render import see_other
from services.gateway.upstream import ContactPage, ExportOwner, PagesUsed
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.upstream import ContactList

FORMATS = ("csv", "jsonl")


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def id_in(text: str) -> UUID:
    """Return the UUID of an address or a form, as our pages write it. Raises 404 for any other spelling.

    `UUID` itself also takes line ends, underscores and digits of other scripts, which would get into a redirect.
    """
    if not _ID.fullmatch(text):
        raise web.HTTPNotFound
    return UUID(text)


class ContactPages:
    """GET /contacts and POST /exports."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)

    async def show(self, request: web.Request) -> web.Response:
        """Show the lists, and a page of the one that is chosen."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        lists = await self._gate.exports.lists(session.account_id)
        if "list" not in request.query:
            return self._page(request, lists, None)
        chosen = _chosen(lists, id_in(request.query["list"]))
        remark = request[VISITOR].remark
        if remark is not None and remark.problem:  # with the export's problem alone: a page of contacts is counted
            return self._page(request, lists, chosen, ContactPage(contacts=[]))
        after = id_in(request.query["after"]) if request.query.get("after") else None
        found = await self._gate.exports.contacts(session.account_id, session.user_id, chosen.list_id, after)
        if found is None:
            raise web.HTTPNotFound
        return self._page(request, lists, chosen, found, after)

    async def ask(self, request: web.Request) -> web.Response:
        """Ask for an export and go to its page, where the code is asked for."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        session = visitor.signed_in
        if session is None:
            return see_other("/login")
        lists = await self._gate.exports.lists(session.account_id)
        chosen = _chosen(lists, id_in(form.get("list", "")))
        if form.get("format") not in FORMATS:
            raise UnfitFormError(422, "bad")
        # The same form sent twice is one export.
        export_id = visitor.id_of("export", form.get("once", ""), str(chosen.list_id), form["format"])
        return await self._asked(request, session, chosen, export_id, form["format"])

    async def _asked(
        self, request: web.Request, session: Session, chosen: ContactList, export_id: UUID, file_format: str
    ) -> web.Response:
        visitor = request[VISITOR]
        t = visitor.words
        client = Client(ip=visitor.ip, locale=t.language)
        owner = ExportOwner(session.account_id, session.user_id, visitor.session_id)
        asked = await self._gate.exports.ask(export_id, owner, chosen.list_id, file_format, client)
        match asked.outcome:
            case "taken":
                await store.remember_export(self._gate.pool, export_id, owner, chosen.name, file_format)
                return see_other(f"/exports/{export_id}")
            case "no_list":
                raise web.HTTPNotFound
            case "too_many":
                problem = t("contacts.too_many", wait=t.duration(timedelta(seconds=asked.retry_after)))
            case "too_large":
                problem = t("contacts.too_large")
            case _:
                assert_never(asked.outcome)
        visitor.leave(problem, problem=True)
        return see_other(f"/contacts?list={chosen.list_id}")

    def _page(
        self,
        request: web.Request,
        lists: list[ContactList],
        chosen: ContactList | None,
        found: ContactPage | PagesUsed | None = None,
        after: UUID | None = None,
    ) -> web.Response:
        status = 200
        shown: dict[str, Any] = {"contacts": [], "next": None, "limited": None}
        if isinstance(found, PagesUsed):
            shown["limited"] = timedelta(seconds=found.retry_after)
            status = 429
        elif found is not None:
            shown |= {"contacts": found.contacts, "next": found.next}
        return self._gate.pages.page(
            request,
            "contacts.html",
            status,
            lists=lists,
            chosen=chosen,
            after=after,
            here="contacts",
            **shown,
        )


def _chosen(lists: list[ContactList], list_id: UUID) -> ContactList:
    found = next((one for one in lists if one.list_id == list_id), None)
    if found is None:
        raise web.HTTPNotFound
    return found
