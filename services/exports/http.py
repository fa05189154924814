"""The routes: lists and contacts, asking for an export, what became of it, its file."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
from aiohttp import web
from pydantic import BaseModel, ConfigDict

from countersign.clock import new_id
from countersign.contract import Client, Digest, canonical, from_base64url
from countersign.runtime.publishing import outbox
from countersign.runtime.web.http import ProblemError, Route, body, parse_id, query_id, to_id
from countersign.runtime.web.streaming import send_in_pieces
from services.exports import contacts, store
from services.exports.decide import reason_of_end, shown
from services.exports.downloads import Downloads
from services.exports.model import Format

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import structlog

    from countersign.client import AccessRequests
    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.publisher import Publisher
    from services.exports.model import Contact, Export
    from services.exports.settings import ExportsSettings

_TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")  # W3C Trace Context, section 3.2


class Ask(BaseModel):
    """The body of POST /v1/exports. The same `export_id` with the same body is the same export.

    `session` is base64url of the SHA-256 of the secret of the browser session that asks, never the secret: the file is
    handed to that session alone.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    account_id: UUID
    user_id: UUID
    list_id: UUID
    format: Format
    client: Client
    session: Digest
    export_id: UUID | None = None

    def asking(self, export_id: UUID) -> store.Asking:
        """Return what is to be kept of it."""
        asked = canonical(self.model_dump(mode="json", exclude={"export_id"}))
        return store.Asking(
            export_id=export_id,
            account_id=self.account_id,
            user_id=self.user_id,
            list_id=self.list_id,
            format=self.format,
            asked=hashlib.sha256(asked).digest(),
            session=from_base64url(self.session),
        )


class Routes:
    """What the gateway calls, each route under a name that a caller's settings list."""

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        requests: AccessRequests,
        settings: ExportsSettings,
        log: structlog.typing.FilteringBoundLogger,
        checkpoint: Checkpoint,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._requests = requests
        self._pages = settings.pages
        self._files = settings.files
        self._log = log
        self._checkpoint = checkpoint
        self._downloads = Downloads(pool)

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return (
            Route("GET", "/v1/accounts/{id}/lists", self.lists, "lists.read"),
            Route("GET", "/v1/lists/{id}/contacts", self.page, "contacts.read"),
            Route("POST", "/v1/exports", self.ask, "exports.ask"),
            Route("GET", "/v1/exports/{id}", self.read, "exports.read"),
            Route("GET", "/v1/exports/{id}/file", self.file, "exports.file"),
        )

    async def lists(self, request: web.Request) -> web.StreamResponse:
        """Answer an account's lists; of an account that is not known here, none."""
        account_id = parse_id(request)
        async with self._pool.acquire() as db:
            found = await contacts.lists_of(db, account_id)
        return _json({"lists": [{"list_id": str(one.list_id), "name": one.name, "rows": one.rows} for one in found]})

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer a page of contacts: `?account_id=&user_id=&after=&limit=`; `next` is the next page's `after`."""
        list_id = parse_id(request)
        account_id, user_id = query_id(request, "account_id"), query_id(request, "user_id")
        after = to_id(request.query["after"], "after") if request.query.get("after") else None
        limit = _limit(request.query.get("limit"), self._pages.rows_max)
        async with self._pool.acquire() as db, db.transaction():
            if await contacts.name_of_list(db, list_id, account_id, user_id) is None:
                raise _not_here("list")
            wait = await contacts.count_page(db, user_id, self._pages.hourly_max)
            found = await contacts.page(db, list_id, after, limit + 1) if wait is None else []
        if wait is not None:
            raise ProblemError(
                429,
                "pages_exhausted",
                f"At most {self._pages.hourly_max} pages an hour; an export brings them all.",
                retry_after=wait,
            )
        more = len(found) > limit
        return _json(
            {
                "contacts": [_contact(one) for one in found[:limit]],
                "next": str(found[limit - 1].contact_id) if more else None,
            }
        )

    async def ask(self, request: web.Request) -> web.StreamResponse:
        """Freeze the contacts, ask for access, and answer 202 with the id that is the request's too."""
        asked = await body(request, Ask)
        try:
            async with self._pool.acquire() as db, db.transaction():
                asking, due = await self._asked(db, asked, _traceparent(request))
                await outbox.append(db, due)
        except asyncpg.UniqueViolationError:
            raise _taken() from None
        await self._checkpoint("ask_committed")
        self._publisher.hand(due)
        return _json({"export_id": str(asking.export_id)}, status=202)

    async def _asked(
        self, db: Connection, asked: Ask, traceparent: str | None
    ) -> tuple[store.Asking, Sequence[Outgoing]]:
        await db.execute(contacts.ONE_AT_A_TIME, str(asked.user_id))
        now: datetime = await db.fetchval("SELECT clock_timestamp()")
        asking = asked.asking(asked.export_id or new_id(now))
        before = await store.asked_before(db, asking.export_id)
        if before is not None:
            if before != asking.asked:
                raise _taken()
            return asking, ()
        list_name = await contacts.name_of_list(db, asked.list_id, asked.account_id, asked.user_id)
        if list_name is None:
            raise _not_here("list")
        if await store.waiting_of(db, asked.user_id) >= self._files.waiting_max:
            raise ProblemError(
                429,
                "exports_waiting",
                f"At most {self._files.waiting_max} exports of a user wait for their decision.",
                retry_after=30,
            )
        rows_max = self._files.rows_max
        export = await store.ask(db, asking, list_name[:60], rows_max, self._files.decided_within)
        if export.rows > rows_max:
            raise ProblemError(
                422, "too_many_rows", f"list_id: a file has at most {rows_max} rows; this list has more."
            )
        built = self._requests.build(
            "export",
            export.account_id,
            export.user_id,
            asked.client,
            export.terms().authorised(),
            export.summary(),
            request_id=export.export_id,
        )
        assert built.digest == export.digest()
        await store.keep_req(db, export.export_id, built.req)
        self._log.info("export_asked", **_story(export), rows=export.rows, format=export.format)
        return asking, (self._requests.record(built, now, traceparent),)

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Answer what became of an export, to the account, user and browser session that asked for it."""
        export, now = await self._one(request)
        return _json(_shown(export, now))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Answer the file while it is offered: 409 before, 410 after. It is sent piece by piece."""
        export, now = await self._one(request)
        async with self._downloads.open(export) as file:
            if file is None:
                raise _no_file(export, now)
            self._log.info("export_fetched", **_story(export))
            return await send_in_pieces(request, file.headers, file.size, file.pieces)

    async def _one(self, request: web.Request) -> tuple[Export, datetime]:
        export_id = parse_id(request)
        account_id, user_id = query_id(request, "account_id"), query_id(request, "user_id")
        session = _session(request)
        async with self._pool.acquire() as db:
            found = await store.one(db, export_id, account_id, user_id)
        # Another session of the same user gets the answer of an export that does not exist.
        if found is None or not compare_digest(found[0].session, session):
            raise _not_here("export")
        return found


def _shown(export: Export, now: datetime) -> dict[str, Any]:
    state = shown(export, now)
    reason = reason_of_end(export) if state == "expired" and export.state != "expired" else export.reason
    return {
        "export_id": str(export.export_id),
        "state": state,
        "reason": reason,
        "retry_at": _time(export.retry_at),
        "list_id": str(export.list_id),
        "list_name": export.list_name,
        "format": export.format,
        "rows": export.rows,
        "asked_at": _time(export.asked_at),
        "expires_at": _time(export.expires_at) if state in {"waiting", "ready"} else None,
    }


def _no_file(export: Export, now: datetime) -> ProblemError:
    match shown(export, now):
        case "waiting":
            return ProblemError(409, "not_ready", "The file is not there yet.", retry_after=1)
        case "denied":
            return ProblemError(409, "denied", "The export was denied.", reason=export.reason)
        case _:
            return ProblemError(410, "expired", "The file is not offered any more: export again.")


def _contact(contact: Contact) -> dict[str, str]:
    return {**contact.attributes, "contact_id": str(contact.contact_id), "email": contact.email, "name": contact.name}


def _limit(text: str | None, most: int) -> int:
    if text is None:
        return most
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= most:
        raise ProblemError(400, "limit", f"limit: expected a number from 1 to {most}.")
    return int(text)


def _session(request: web.Request) -> bytes:
    """Return the SHA-256 in the required query parameter `session`. Raises ProblemError 400."""
    given = request.query.get("session")
    if given is None:
        raise ProblemError(400, "missing", "session: missing in the query string.")
    with suppress(ValueError):
        digest = from_base64url(given)
        if len(digest) == hashlib.sha256().digest_size:
            return digest
    raise ProblemError(400, "session", "session: expected base64url of a SHA-256, 43 characters without padding.")


def _story(export: Export) -> dict[str, str]:
    """Return what each log line about an export names. Its request has its id."""
    named = {"request_id": export.export_id, "account_id": export.account_id, "user_id": export.user_id}
    return {"export_id": str(export.export_id), **{name: str(value) for name, value in named.items()}}


def _traceparent(request: web.Request) -> str | None:
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.match(given) else None


def _time(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time is not None else None


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store"})


def _not_here(what: str) -> ProblemError:
    return ProblemError(404, "not_found", f"This account has no such {what}.")


def _taken() -> ProblemError:
    return ProblemError(409, "export_id_taken", "export_id: in use by an export that was asked for with another body.")
