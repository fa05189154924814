"""A listener: how many connections it has, and which of them is closed where all places are taken."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.runtime.web.connections import Connection
from countersign.runtime.web.places import Places, address_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    import structlog

    from countersign.runtime.settings import ConnectionSettings
    from countersign.runtime.watching.metrics import Metrics

    Refusal = Callable[[int], tuple[str, bytes]]

LOGGED_EVERY_SECONDS = 10.0  # chosen: an attack of 20,000 connections is one line, not 20,000
# refused: no place was free; replaced: given up for a newer one; unused and headers: no byte, or not all headers, came
# in time; idle: no further request came in time; stalled: the answer was not taken; unreadable: not HTTP.
CAUSES = ("refused", "replaced", "unused", "headers", "idle", "stalled", "unreadable")
# Browsers open connections ahead and leave them open; what is unreadable has a log line of its own.
_UNREMARKABLE = frozenset({"idle", "unused", "unreadable"})


def plain_refusal(status: int) -> tuple[str, bytes]:
    """Return content type and body of an answer to what cannot be read, for sites of pages."""
    return "text/plain; charset=utf-8", f"{HTTPStatus(status).phrase}.\n".encode()


class Listener:
    """The factory of a site's connections. It takes over the server of an aiohttp runner that was set up."""

    def __init__(
        self,
        name: str,
        server: web.Server,
        settings: ConnectionSettings,
        *,
        exempt: Sequence[IPv4Network | IPv6Network],
        refusal: Refusal,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.places: Places[Connection] = Places(settings.all_max, settings.address_max)
        self.refusal = refusal
        self.log = log.bind(site=name)
        self._server = server
        self._exempt = exempt
        self._loop = asyncio.get_running_loop()
        self._open = metrics.connections.labels(name)
        self._ended = {cause: metrics.connections_ended.labels(name, cause) for cause in CAUSES}
        self._unlogged: dict[str, int] = {}
        self._logged_at = -LOGGED_EVERY_SECONDS
        server.request_handler = self._answering(server.request_handler)

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(self, self._server, loop=self._loop)

    def admit(self, connection: Connection, peer: str | None) -> bool:
        """Return whether there is a place for a connection from there, if need be in exchange for a waiting one."""
        address = address_of(peer, self._exempt)
        given_up = self.places.take(connection, address)
        self._open.set(self.places.open)
        if given_up is None:
            self.ended("refused")
            return False
        for other in given_up:
            other.give_up()
        return True

    def leave(self, connection: Connection) -> None:
        """Free the place of a connection that ended."""
        self.places.leave(connection)
        self._open.set(self.places.open)

    def ended(self, cause: str) -> None:
        """Count a connection that we ended, and log how many of them there were, now and then."""
        self._ended[cause].inc()
        if cause in _UNREMARKABLE:
            return
        self._unlogged[cause] = self._unlogged.get(cause, 0) + 1
        if self._loop.time() - self._logged_at >= LOGGED_EVERY_SECONDS:
            self._logged_at = self._loop.time()
            self.log.warning("connections_ended", open=self.places.open, **self._unlogged)
            self._unlogged.clear()

    def _answering(self, inner: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> Any:
        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            assert isinstance(connection, Connection)
            connection.work(request.writer)
            try:
                return await inner(request)
            except web.HTTPException as error:  # of aiohttp itself: its text may quote the request
                if error.status < HTTPStatus.BAD_REQUEST:
                    raise
                content_type, body = self.refusal(error.status)
                headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
                if "Allow" in error.headers:
                    headers["Allow"] = error.headers["Allow"]
                return web.Response(status=error.status, body=body, headers=headers)

        return answer
