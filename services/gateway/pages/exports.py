"""An export from its request to its file: waiting, the code box, ready, denied, expired. Closing it loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.runtime.web.streaming import Streams, send_in_pieces
from services.gateway import store
from services.gateway.guard import form_of
from services.gateway.hosts import origin_of
from services.gateway.pages import code
from services.gateway.pages.contacts import id_in
from services.gateway.render import see_other
from services.gateway.upstream import ExportOwner
from services.gateway.visitor import VISITOR

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.client import RequestState
    from services.gateway.gate import Gate
    from services.gateway.model import Session
    from services.gateway.upstream import Export

LOOK_AGAIN_SECONDS = 2  # chosen: people who wait for a second or two


class ExportPages:
    """GET and POST /exports/{id}, GET /exports/{id}/file, for the browser session that asked for the export."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._origin = origin_of(gate.url)
        self._streams = Streams()

    async def show(self, request: web.Request) -> web.Response:
        """Show how far the export has come."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        export = await self._mine(request, session)
        if export is None:
            return await self._not_mine(request, session)
        if export.state != "waiting":
            return self._ended(request, session, export)
        # Only the session that asked for the export comes here: the request's id is the export's.
        found = await self._gate.decisions.wait(export.export_id, 0)
        return self._waiting(request, session, export, found)

    async def submit(self, request: web.Request) -> web.Response:
        """Do what the pressed button says."""
        form = await form_of(request, self._origin)
        visitor = request[VISITOR]
        session = visitor.signed_in
        if session is None:
            return see_other("/login")
        export = await self._mine(request, session)
        if export is None:
            return await self._not_mine(request, session)
        found = await self._gate.decisions.wait(export.export_id, 0)
        if found.state != "challenged" or found.challenge is None:
            return see_other(f"/exports/{export.export_id}")
        if form.get("do") == "cancel":
            if await self._gate.challenges.cancel(found.challenge.challenge_id):
                visitor.leave(visitor.words("export.cancelled", list=export.list_name))
            return see_other("/contacts")
        step = await code.press(self._gate, visitor, form, found.challenge)
        if step.problem is not None:
            visitor.leave(step.problem, problem=True)
        return see_other(f"/exports/{export.export_id}")

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Hand the file out while it is offered, as it comes."""
        session = request[VISITOR].signed_in
        if session is None:
            return see_other("/login")
        async with self._streams.place(), self._gate.exports.file(_id(request), _owner(request, session)) as found:
            if found is None:
                return see_other(f"/exports/{_id(request)}")
            return await send_in_pieces(request, found.headers, found.size, found.pieces)

    async def _mine(self, request: web.Request, session: Session) -> Export | None:
        return await self._gate.exports.export(_id(request), _owner(request, session))

    async def _not_mine(self, request: web.Request, session: Session) -> web.Response:
        """Say that another session of this user asked for it. Raises 404 where none did."""
        if not await store.asked_by_user(self._gate.pool, _id(request), session.user_id):
            raise web.HTTPNotFound
        title = request[VISITOR].words("export.elsewhere_title")
        return self._gate.pages.page(
            request, "export.html", 404, state="elsewhere", title=title, facts=None, here="contacts"
        )

    def _waiting(self, request: web.Request, session: Session, export: Export, found: RequestState) -> web.Response:
        match found.state:
            case "challenged" if found.challenge is not None:
                return self._box(request, export, code.box_of(found.challenge, session.now))
            case "denied":
                kind = code.SAID[found.reason] if found.reason is not None else "over"
                return self._denied(request, export, kind, code.retry_in(found.retry_at, session.now))
            case "granted":
                return self._moment(request, session, export, "file")
            case _:
                return self._moment(request, session, export, "moment")

    def _moment(self, request: web.Request, session: Session, export: Export, state: str) -> web.Response:
        slow = state == "moment" and session.now - export.asked_at > code.USUAL
        return self._page(request, export, state, "moment.title", slow=slow, poll=1, refresh=LOOK_AGAIN_SECONDS)

    def _ended(self, request: web.Request, session: Session, export: Export) -> web.Response:
        if export.state == "ready" and export.expires_at is not None:
            ready_for = export.expires_at - session.now
            return self._page(request, export, "ready", "export.ready_title", ready_for=ready_for)
        if export.state == "denied":
            kind = code.SAID.get(export.reason or "", "over")
            return self._denied(request, export, kind, code.retry_in(export.retry_at, session.now))
        if export.reason == "file.unwritten":
            return self._page(request, export, "failed", "export.failed_title")
        return self._page(request, export, "expired", "export.expired_title")

    def _denied(self, request: web.Request, export: Export, kind: str, retry_in: object) -> web.Response:
        return self._page(request, export, "denied", f"denied.{kind}.title", kind=kind, retry_in=retry_in)

    def _box(self, request: web.Request, export: Export, box: code.CodeBox) -> web.Response:
        return self._page(request, export, "code", "code.title", box=box, poll=box.poll)

    def _page(self, request: web.Request, export: Export, state: str, title: str, **context: Any) -> web.Response:
        return self._gate.pages.page(
            request,
            "export.html",
            state=state,
            title=request[VISITOR].words(title),
            path=f"/exports/{export.export_id}",
            name=export.list_name,
            facts={"format": export.format, "rows": export.rows},
            here="contacts",
            **context,
        )


def _owner(request: web.Request, session: Session) -> ExportOwner:
    return ExportOwner(session.account_id, session.user_id, request[VISITOR].session_id)


def _id(request: web.Request) -> UUID:
    return id_in(request.match_info["id"])
