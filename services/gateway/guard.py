"""What stands before every page: headers, problems as pages, the one host, the visitor, and forms of our own only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.web.again import answer_again_if_outdated
from countersign.runtime.web.deadline import awake_timeout
from countersign.typed import visible
from services.gateway import words
from services.gateway.hosts import is_same_host, is_same_origin, origin_of
from services.gateway.remark import RemarkCookie
from services.gateway.render import see_other
from services.gateway.visitor import (
    LOOKS_AGAIN,
    VISITOR,
    Cookie,
    DeviceCookie,
    Visitor,
    address_of,
    is_secret,
    new_secret,
    session_for,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from services.gateway.gate import Gate

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

UNAVAILABLE = "/unavailable"
FORM_BYTES_MAX = 16 * 1024  # chosen: the longest form has an e-mail address and a password of 1,024 characters
FORM_SECONDS_MAX = 10.0  # chosen: 16 KiB over a bad line; whoever sends slower holds a task of ours for nothing
_TARGET = re.compile(r"^/(?!/)[!-~]*\Z")
# No page loads, frames or sends anything elsewhere, and no script or style stands in a page.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
TWO_YEARS = "max-age=63072000"


class UnfitFormError(Exception):
    """A form that cannot be read, or that is not ours. `kind` is the page that says so."""

    def __init__(self, status: int, kind: str) -> None:
        super().__init__(kind)
        self.status = status
        self.kind = kind


class StaleFormError(UnfitFormError):
    """A form whose token does not fit the browser's cookie: open for too long, or a browser without cookies.

    Nothing may be done for it. `form_id` is its hidden id, so that a form sent twice is led where its first sending is;
    `email` what was typed.
    """

    def __init__(self, form: Mapping[str, str]) -> None:
        super().__init__(403, "forbidden")
        self.form_id = form.get("once", "")
        self.email = visible(form.get("email", ""))


def middlewares(gate: Gate) -> list[Any]:
    """Return them, the outermost first."""
    return [_counted(gate), _problems(gate), _visitors(gate), _remarks(gate)]


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
        except UnfitFormError as unfit:
            return problem_page(gate, request, unfit.status, unfit.kind)
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - a redirect is an answer
                raise
            kind = {413: "too_large", 404: "not_found"}.get(error.status, "bad")
            return problem_page(gate, request, error.status, kind, dict(error.headers))
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE:
                if request.method == "POST":
                    return _led_away(gate, request, error)
                _log_away(gate, error)
                return problem_page(gate, request, 503, "away", {"Retry-After": "2"})
            gate.log.exception("page_bug", error=type(error).__name__)
            return problem_page(gate, request, 500, "broken")

    return middleware


def _led_away(gate: Gate, request: web.Request, error: Exception) -> web.Response:
    """Lead a form that met an outage to the page that knows when the service is back."""
    _log_away(gate, error)
    return see_other(f"{UNAVAILABLE}?to={_page_of(gate, request)}")


def _log_away(gate: Gate, error: Exception) -> None:
    # What a client says of a service that is away names addresses and no secrets; other errors might.
    said = str(error)[:200] if isinstance(error, ConnectionError) else None
    gate.log.warning("page_server_away", error=type(error).__name__, reason=said)


def problem_page(
    gate: Gate, request: web.Request, status: int, kind: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    if VISITOR not in request:
        request[VISITOR] = Visitor(new_secret(), None, None, _words(gate, request))
    """Return a page that comes instead of another; of one that is away, it looks again until that other comes."""
    there = _is_page(request)
    again = _target(request) if kind in {"away", "broken"} and there else gate.front
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
    return words.choose(",".join(request.headers.getall("Accept-Language", [])), gate.languages)


def _target(request: web.Request) -> str:
    """Return path and query as they came, percent-encoded; the root where they are anything else."""
    target = request.path_qs
    return target if _TARGET.match(target) else "/"


def _visitors(gate: Gate) -> Any:
    origin = origin_of(gate.url)
    secure = origin.startswith("https:")
    cookie, device_cookie = Cookie.of(gate.site, secure=secure), DeviceCookie.of(gate.site, secure=secure)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/static/"):
            return await handler(request)
        if not is_same_host(request.host, origin):
            # Under another name cookies and Origin would not fit; and nobody else's name may show our pages.
            if request.method in {"GET", "HEAD"}:
                return see_other(origin + _target(request))
            raise UnfitFormError(421, "forbidden")
        held = cookie.read(request)
        device = device_cookie.read(request)
        visitor = Visitor(held or new_secret(), None, address_of(request, gate.settings), _words(gate, request), device)
        request[VISITOR] = visitor
        if held is not None:
            visitor.known = True
            visitor.session = await session_for(gate.pool, gate.site, held, looks_again=LOOKS_AGAIN in request.headers)
        response = await handler(request)
        if visitor.secret != held:
            cookie.write(response, visitor.secret)
        if visitor.device != device:
            device_cookie.write(response, visitor.device)
        return response

    return middleware


def _remarks(gate: Gate) -> Any:
    remarks = RemarkCookie.of(gate.site, gate.browser_key, secure=origin_of(gate.url).startswith("https:"))

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Hand the page what the form before left for it, and its own remark to the browser."""
        if VISITOR not in request:  # a static file
            return await handler(request)
        visitor = request[VISITOR]
        before = visitor.secret
        # A page that looks again by itself shows parts of the answer, so it leaves the remark where it is.
        if visitor.known and request.method == "GET" and LOOKS_AGAIN not in request.headers:
            visitor.remark = remarks.read(request, visitor.secret)
        try:
            response = await answer_again_if_outdated(request, handler, gate.log)
        except StaleFormError:
            if not visitor.known:  # the next page could tell nothing to a browser that keeps no cookies
                raise
            visitor.leave(visitor.words("problem.stale"), problem=True)
            response = see_other(_page_of(gate, request))
        except Exception as error:
            if request.method != "POST" or kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            visitor.secret = before  # what the new one was for did not come about
            response = _led_away(gate, request, error)
        if visitor.leaves is not None:
            remarks.write(response, visitor.secret, visitor.leaves)
        elif visitor.remark_told:
            remarks.forget(response)
        return response

    return middleware


def _page_of(gate: Gate, request: web.Request) -> str:
    """Return the page that a form stands on, as far as its address has one."""
    return request.path if _is_page(request) and _TARGET.match(request.path) else gate.front


async def form_of(request: web.Request, origin: str) -> dict[str, str]:
    """Return the fields of a form of ours, each but the password a clean line. Raises UnfitFormError.

    Origin and Sec-Fetch-Site are checked where they come, the token always (OWASP Cross-Site Request Forgery Prevention
    Cheat Sheet). `Origin: null` is no evidence either way: older browsers write it for forms of our own, depending on
    the Referrer-Policy, so the token decides; it follows from a cookie that no form from elsewhere brings.
    """
    site = request.headers.get("Sec-Fetch-Site")
    given = request.headers.get("Origin")
    if site not in {None, "same-origin"} or not (given in {None, "null"} or is_same_origin(given, origin)):
        raise UnfitFormError(403, "forbidden")
    # Other codecs than that of our pages bring texts that no column and no hash takes.
    if request.content_type != "application/x-www-form-urlencoded" or (request.charset or "utf-8").lower() != "utf-8":
        raise UnfitFormError(415, "bad")
    try:
        async with awake_timeout(FORM_SECONDS_MAX):
            fields = await request.post()
    except TimeoutError:
        raise UnfitFormError(408, "bad") from None
    except ValueError:
        raise UnfitFormError(400, "bad") from None
    form = {name: value for name, value in fields.items() if isinstance(value, str)}
    token = form.get("csrf", "")
    if not is_secret(token):
        raise UnfitFormError(403, "forbidden")
    if not request[VISITOR].csrf_fits(token):
        raise StaleFormError(form)
    # A password may hold anything; nothing else does, and PostgreSQL takes no U+0000.
    return {name: value if name == "password" else visible(value) for name, value in form.items()}
