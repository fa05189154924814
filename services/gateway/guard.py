"""What stands before every page: headers, problems as pages, the one host, the visitor, and forms of our own only."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.runtime.errors import Kind, kind_of
from services.gateway import words
from services.gateway.render import see_other
from services.gateway.settings import origin_of
from services.gateway.visitor import LOOKS_AGAIN, VISITOR, Cookie, Visitor, address_of, new_secret, session_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from services.gateway.gate import Gate

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

FORM_BYTES_MAX = 16 * 1024  # chosen: the longest form has an e-mail address and a password of 1,024 characters
FORM_SECONDS_MAX = 10.0  # chosen: 16 KiB over a bad line; whoever sends slower holds a task of ours for nothing
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# No page loads, frames or sends anything elsewhere, and no script or style stands in a page.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TWO_YEARS = "max-age=63072000"


class Unfit(Exception):  # noqa: N818 - a finding about a form
    """A form that cannot be read, or that is not ours. `kind` is the page that says so."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


class Stale(Unfit):
    """A form whose token does not fit the browser's cookie: open for too long, or a browser without cookies."""

    def __init__(self) -> None:
        super().__init__(403, "forbidden")


def middlewares(gate: Gate) -> list[Any]:
    """Return them, the outermost first."""
    return [_counted(gate), _problems(gate), _visitors(gate)]


def headers(gate: Gate) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Return what puts the security headers on every answer of a site."""
    secure = origin_of(gate.url).startswith("https:")

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        del request
        response.headers.update(SECURITY_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        if secure:
            response.headers["Strict-Transport-Security"] = TWO_YEARS

    return prepare


def _counted(gate: Gate) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else "none"
        gate.metrics.http_answers.labels(request.method, path, str(response.status)).inc()
        return response

    return middleware


def _problems(gate: Gate) -> Any:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Unfit as unfit:
            return _problem(gate, request, unfit.status, unfit.kind)
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - a redirect is an answer
                raise
            kind = {413: "too_large", 404: "not_found"}.get(error.status, "bad")
            return _problem(gate, request, error.status, kind, dict(error.headers))
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE:
                # What a client says of a service that is away names addresses and no secrets; other errors might.
                said = str(error)[:200] if isinstance(error, ConnectionError) else None
                gate.log.warning("page_server_away", error=type(error).__name__, reason=said)
                return _problem(gate, request, 503, "away", {"Retry-After": "2"})
            gate.log.exception("page_bug", error=type(error).__name__)
            return _problem(gate, request, 500, "broken")

    return middleware


def _problem(
    gate: Gate, request: web.Request, status: int, kind: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    if VISITOR not in request:
        request[VISITOR] = Visitor(new_secret(), None, None, _words(gate, request))
    there = _is_page(request)
    again = request.path if kind in {"away", "broken"} and there else gate.front
    waits = {"state": "away", "poll": 3, "refresh": 5} if kind == "away" and there else {}
    response = gate.pages.page(request, "problem.html", status, kind=kind, again=again, **waits)
    for name in ("Allow", "Retry-After"):
        if headers and name in headers:
            response.headers[name] = headers[name]
    return response


def _is_page(request: web.Request) -> bool:
    resource = request.match_info.route.resource
    return resource is not None and any(route.method == "GET" for route in resource)


def _words(gate: Gate, request: web.Request) -> words.Words:
    return words.choose(request.headers.get("Accept-Language"), gate.languages)


def _visitors(gate: Gate) -> Any:
    origin = origin_of(gate.url)
    host = origin.partition("://")[2]
    cookie = Cookie.of(gate.site, secure=origin.startswith("https:"))

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/static/"):
            return await handler(request)
        if request.host != host:
            # Under another name cookies and Origin would not fit; and nobody else's name may show our pages.
            if request.method in {"GET", "HEAD"}:
                return see_other(origin + request.path_qs)
            raise Unfit(421, "forbidden")
        held = cookie.read(request)
        visitor = Visitor(held or new_secret(), None, address_of(request, gate.settings), _words(gate, request))
        request[VISITOR] = visitor
        if held is not None:
            visitor.session = await session_for(gate.pool, gate.site, held, looks_again=LOOKS_AGAIN in request.headers)
        response = await handler(request)
        if visitor.secret != held:
            cookie.write(response, visitor.secret)
        return response

    return middleware


async def form_of(request: web.Request, origin: str) -> dict[str, str]:
    """Return the fields of a form of ours, without control characters. Raises Unfit.

    Origin is `null` under our own Referrer-Policy, and then Sec-Fetch-Site speaks; both are checked where they come,
    the token always (OWASP Cross-Site Request Forgery Prevention Cheat Sheet).
    """
    site = request.headers.get("Sec-Fetch-Site")
    given = request.headers.get("Origin")
    if site not in {None, "same-origin"} or given not in {None, "null", origin} or (given == "null" and site is None):
        raise Unfit(403, "forbidden")
    # Other codecs than that of our pages bring texts that no column and no hash takes.
    if request.content_type != "application/x-www-form-urlencoded" or (request.charset or "utf-8").lower() != "utf-8":
        raise Unfit(415, "bad")
    try:
        async with asyncio.timeout(FORM_SECONDS_MAX):
            fields = await request.post()
    except TimeoutError:
        raise Unfit(408, "bad") from None
    except ValueError:
        raise Unfit(400, "bad") from None
    form = {name: value for name, value in fields.items() if isinstance(value, str)}
    if not request[VISITOR].csrf_fits(form.get("csrf", "")):
        raise Stale
    # A password may hold anything; nothing else does, and PostgreSQL takes no U+0000.
    return {name: value if name == "password" else _CONTROL.sub("", value) for name, value in form.items()}
