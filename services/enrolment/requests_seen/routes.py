"""The routes by which a console shows what became of an account's requests. They read, and change nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from aiohttp import web

from countersign.runtime.web.http import ProblemError, Route, parse_id, query_id
from countersign.timeline.reading import Timelines
from services.enrolment import store
from services.enrolment.requests_seen.decide import request_seen, timeline_seen
from services.enrolment.requests_seen.model import RequestsSeen

if TYPE_CHECKING:
    from uuid import UUID

    from pydantic import BaseModel

    from countersign.runtime.database.postgres import Connection, Pool

REQUESTS_LISTED_MAX = 20  # chosen: what an account manager looks through while the customer is on the telephone
LOOKED_BACK = timedelta(days=30)  # shorter than the services keep what the steps are read from (40 days)
# Without one of these a request would look as if it had stopped on its way.
_NEEDED = frozenset({"risk_evaluator", "verifier", "notifier"})
_KNOWN = "SELECT EXISTS (SELECT FROM account WHERE account_id = $1)"


class RequestRoutes:
    """The handlers, and what they need."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def all(self) -> list[Route]:
        """Return the routes with the name that callers are allowed by."""
        return [
            Route("GET", "/v1/manager/accounts/{id}/requests", self._list, "manager.read"),
            Route("GET", "/v1/manager/accounts/{id}/requests/{request_id}", self._see, "manager.read"),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        """Return the latest requests of an account, or of its member `user_id`."""
        if unknown := request.query.keys() - {"user_id"}:
            raise ProblemError(400, "unknown_parameter", f"{', '.join(sorted(unknown))}: no such parameter.")
        account_id = parse_id(request)
        user_id = query_id(request, "user_id") if "user_id" in request.query else None
        async with self._pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
            timelines, now = await _timelines(db, account_id), await store.now_of(db)
            if user_id is None:
                ids = await timelines.recent("account", account_id, LOOKED_BACK, REQUESTS_LISTED_MAX)
            else:
                ids = await timelines.recent("user", user_id, LOOKED_BACK, REQUESTS_LISTED_MAX)
            stories = await timelines.stories(ids)
        found = (request_seen(id_, story, account_id, now) for id_, story in stories.items())
        return _answer(RequestsSeen(requests=[one for one in found if one is not None]))

    async def _see(self, request: web.Request) -> web.Response:
        """Return a request of the account with its time line."""
        account_id, request_id = parse_id(request), parse_id(request, "request_id")
        async with self._pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
            timelines, now = await _timelines(db, account_id), await store.now_of(db)
            stories = await timelines.stories([request_id])
        found = timeline_seen(request_id, stories[request_id], account_id, now) if stories else None
        if found is None:
            raise ProblemError(404, "request_unknown", "This account made no such request, or it is forgotten.")
        return _answer(found)


async def _timelines(db: Connection, account_id: UUID) -> Timelines:
    """Return the views to read. Raises ProblemError 404 for an unknown account, and 503 where a view is missing."""
    if not await db.fetchval(_KNOWN, account_id):
        raise ProblemError(404, "account_unknown", "No such account is known here.")
    timelines = await Timelines.readable(db)
    if missing := _NEEDED.difference(timelines.schemas):
        detail = f"enrolment may not read the view timeline of {', '.join(sorted(missing))}: migrate that service."
        raise ProblemError(503, "timeline_unreadable", detail, retry_after=5)
    return timelines


def _answer(seen: BaseModel) -> web.Response:
    return web.Response(
        text=seen.model_dump_json(), content_type="application/json", headers={"Cache-Control": "no-store"}
    )
