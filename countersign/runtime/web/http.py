"""HTTP for services: problem documents (RFC 9457), a bearer per calling service, bodies read into models."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from hmac import compare_digest
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ValidationError

from countersign.runtime.errors import Kind, TooManyWaitingError, kind_of
from countersign.runtime.messages.findings import findings
from countersign.runtime.settings import ConnectionSettings
from countersign.runtime.web.again import answer_again_if_outdated
from countersign.runtime.web.deadline import awake_timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    import structlog

    from countersign.runtime.settings import Caller
    from countersign.runtime.watching.metrics import Metrics

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

M = TypeVar("M", bound=BaseModel)

BODY_BYTES_MAX = 64 * 1024
BODY_SECONDS_MAX = 10.0  # ours: 64 KiB over a bad line; whoever sends slower holds a task of ours for nothing
CALLER: web.RequestKey[str] = web.RequestKey("caller", str)
REFUSAL: web.AppKey[Callable[[int], tuple[str, bytes]]] = web.AppKey("refusal")
CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """An answer in application/problem+json. `kind` is a word for programs, `detail` a sentence for people."""

    def __init__(
        self, status: int, kind: str, detail: str, *, retry_after: float | None = None, **members: object
    ) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.members = members

    def document(self) -> str:
        """Return the document."""
        return json.dumps(
            {
                "type": f"urn:countersign:problem:{self.kind}",
                "title": self.kind.replace("_", " "),
                "status": self.status,
                "detail": self.detail,
                **self.members,
            }
        )

    def response(self) -> web.Response:
        """Return an answer that carries the document."""
        headers = {"Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after + 0.499)))
        if self.status == web.HTTPUnauthorized.status_code:
            headers["WWW-Authenticate"] = "Bearer"
        return web.Response(text=self.document(), status=self.status, content_type=CONTENT_TYPE, headers=headers)


@dataclass(frozen=True, slots=True)
class Route:
    """A route and the name by which a caller may call it; a route without a name is open to all."""

    method: str
    path: str
    handler: Handler
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """An application, where it listens, and how many connections it has.

    `proxies` are the networks whose addresses speak for many: for them only the whole number of connections counts.
    """

    app: web.Application
    host: str
    port: int
    name: str = field(default="http")
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)
    proxies: Sequence[IPv4Network | IPv6Network] = ()


def application(
    routes: Sequence[Route],
    callers: Sequence[Caller],
    *,
    metrics: Metrics,
    log: structlog.typing.FilteringBoundLogger,
) -> web.Application:
    """Return an application whose every error is a problem document and whose named routes ask for a bearer.

    Raises ValueError if a caller is allowed a route that is none.
    """
    known = {route.name for route in routes if route.name is not None}
    for caller in callers:
        if unknown := set(caller.routes) - known:
            raise ValueError(f"caller {caller.name}: no such route: {', '.join(sorted(unknown))}")
    names: dict[int, str | None] = {}
    app = web.Application(
        middlewares=[_problems(metrics, log), _bearers(callers, names)], client_max_size=BODY_BYTES_MAX
    )
    app[REFUSAL] = _refusal
    for route in routes:
        names[id(app.router.add_route(route.method, route.path, route.handler))] = route.name
    return app


def _problems(metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await _answer(request, handler, log)
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "none"
        metrics.http_answers.labels(request.method, path, str(response.status)).inc()
        return response

    return middleware


async def _answer(
    request: web.Request, handler: Handler, log: structlog.typing.FilteringBoundLogger
) -> web.StreamResponse:
    try:
        return await answer_again_if_outdated(request, handler, log)
    except ProblemError as problem:
        return problem.response()
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - a redirect is an answer
            raise
        return _of_status(error.status).response()
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            raise  # the client went away: there is nobody to answer
        if isinstance(error, TooManyWaitingError):
            log.warning("http_busy", error=str(error))
            return ProblemError(
                503, "busy", "Too many requests wait here; try again in a moment.", retry_after=2
            ).response()
        if kind_of(error) is Kind.INFRASTRUCTURE:
            log.warning("http_server_away", error=type(error).__name__)
            return ProblemError(
                503, "unavailable", "A server that this needs does not answer; try again.", retry_after=2
            ).response()
        log.exception("http_bug", error=type(error).__name__)
        return ProblemError(500, "internal", "Something is wrong here; it was logged.").response()


def _refusal(status: int) -> tuple[str, bytes]:
    """Return the document about what could not be read as a request; see listener.Refusal."""
    return CONTENT_TYPE, _of_status(status).document().encode()


def _of_status(status: int) -> ProblemError:
    match status:
        case 400:
            return ProblemError(400, "unreadable", "This is not HTTP as we read it, or its headers are too long.")
        case 404:
            return ProblemError(404, "not_found", "There is nothing at this address.")
        case 405:
            return ProblemError(405, "method_not_allowed", "This address does not take that method.")
        case 408:
            return ProblemError(408, "headers_late", "The headers did not come in time.")
        case 413:
            return ProblemError(413, "too_large", f"A body has at most {BODY_BYTES_MAX} bytes.")
        case _:
            return ProblemError(status, "http", f"{HTTPStatus(status).phrase}.")


def _bearers(callers: Sequence[Caller], names: dict[int, str | None]) -> Any:
    digests = [(_digest(caller.token.get_secret_value()), caller) for caller in callers]

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.http_exception is not None:  # a 404 or 405: nothing to protect
            return await handler(request)
        name = names[id(request.match_info.route)]
        if name is None:
            return await handler(request)
        caller = _caller(request, digests)
        if name not in caller.routes:
            raise ProblemError(403, "caller_not_allowed", f"{caller.name} may not call {name}.")
        request[CALLER] = caller.name
        return await handler(request)

    return middleware


def _caller(request: web.Request, digests: Sequence[tuple[bytes, Caller]]) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ProblemError(401, "no_bearer", "This route asks for a bearer in the Authorization header.")
    given = _digest(token.strip())
    found = None
    for digest, caller in digests:  # all are compared, so that the time tells nothing
        if compare_digest(digest, given):
            found = caller
    if found is None:
        raise ProblemError(401, "bearer_unknown", "This bearer belongs to no caller.")
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def parse_id(request: web.Request, name: str = "id") -> UUID:
    """Return a UUID of the path. Raises ProblemError 400."""
    return to_id(request.match_info[name], name)


def query_id(request: web.Request, name: str) -> UUID:
    """Return a required UUID of the query string. Raises ProblemError 400."""
    if name not in request.query:
        raise ProblemError(400, "missing", f"{name}: missing in the query string.")
    return to_id(request.query[name], name)


def to_id(text: str, name: str) -> UUID:
    """Return the UUID that a text in canonical form is. Raises ProblemError 400."""
    try:
        parsed = UUID(text)
    except ValueError:
        raise ProblemError(400, "malformed_id", f"{name}: expected a UUID.") from None
    if str(parsed) != text.lower():
        raise ProblemError(400, "malformed_id", f"{name}: expected a UUID of 36 characters.")
    return parsed


async def body(request: web.Request, model: type[M]) -> M:
    """Return the body as a model. Raises ProblemError 400 where it is not JSON 422 where its fields are wrong."""
    raw = await _read(request)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        kinds = {str(finding["type"]) for finding in error.errors(include_url=False)}
        if "json_invalid" in kinds:
            raise ProblemError(400, "not_json", "The body is not JSON.") from None
        told = findings(error)
        raise ProblemError(422, "fields", "; ".join(told), errors=told) from None


async def _read(request: web.Request) -> bytes:
    """Return the body. Raises ProblemError 408 if it is slow; one that came with its headers needs no timer."""
    if request.content.is_eof():
        return await request.read()
    try:
        async with awake_timeout(BODY_SECONDS_MAX):
            return await request.read()
    except TimeoutError:
        raise ProblemError(408, "body_late", f"The body did not come within {BODY_SECONDS_MAX:.0f} s.") from None
