"""A connection: how long it may make us wait, and what is answered to whoever does not speak HTTP.

aiohttp does not bound the time in which the headers of a request have to come. Here a connection that waits for its
client (no request yet, headers incomplete, or idle after an answer) has a deadline.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from countersign.runtime.web.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.abc import AbstractStreamWriter

    from countersign.runtime.web.listener import Listener

HEADERS_SECONDS_MAX = 10.0  # chosen: below the 20 s of Apache's mod_reqtimeout; headers are one or two packets
IDLE_SECONDS_MAX = 75.0  # chosen: as nginx, and longer than proxies keep theirs (60 s), so that they close first
LINGER_SECONDS_MAX = 2.0  # chosen: somebody who still sends a body can read the answer
STALL_SECONDS = 30.0  # chosen: how often a client that does not take its answer is looked at
STALL_BYTES_MIN = 15_000  # Apache's mod_reqtimeout: 500 bytes a second, the other way round


class _Phase(Enum):
    HEADERS = auto()
    WORKING = auto()
    IDLE = auto()
    CLOSING = auto()


_SECONDS_MAX = {
    _Phase.HEADERS: HEADERS_SECONDS_MAX,
    _Phase.WORKING: STALL_SECONDS,
    _Phase.IDLE: IDLE_SECONDS_MAX,
    _Phase.CLOSING: LINGER_SECONDS_MAX,
}


class Connection(web.RequestHandler):
    """A connection with a place, a deadline while it waits for its client, and our own words for what goes wrong."""

    __slots__ = (
        "_admitted",
        "_asked",
        "_current",
        "_deadline",
        "_depending",
        "_listener",
        "_phase",
        "_taken",
        "_wire",
    )

    def __init__(self, listener: Listener, server: web.Server, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to say: none
            auto_decompress=False,  # nobody packs bodies for us, and 300 KB would become 300 MB to be looked at
            keepalive_timeout=IDLE_SECONDS_MAX,
            lingering_time=LINGER_SECONDS_MAX,
        )
        self._listener = listener
        self._wire: asyncio.Transport | None = None
        self._admitted = self._asked = False
        self._phase = _Phase.HEADERS
        self._deadline: Deadline | None = None
        self._current: AbstractStreamWriter | None = None
        self._taken = 0
        self._depending: set[asyncio.Task[Any]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, or close at once."""
        wire: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's are no subclass of it
        self._wire = wire
        peer = wire.get_extra_info("peername")
        self._admitted = self._listener.admit(self, peer[0] if peer else None)
        if not self._admitted:
            wire.abort()
            return
        self._enter(_Phase.HEADERS)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Free the place, and end what depends on the connection."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._wire = None
        if not self._admitted:
            return
        self._listener.leave(self)
        super().connection_lost(exc)
        for task in self._depending:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Let the headers' time begin with their first byte."""
        if data:
            self._asked = True
            if self._phase is _Phase.IDLE:
                self._enter(_Phase.HEADERS)
        super().data_received(data)

    def work(self, writer: AbstractStreamWriter) -> None:
        """Take down that a request is here and is being answered."""
        self._current, self._taken = writer, 0
        self._enter(_Phase.WORKING)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer. A client whose body did not come, or not in full, has to connect again (RFC 9112, 9.3)."""
        if isinstance(resp, web.StreamResponse) and not request.content.is_eof():
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._asked = False
            self._enter(_Phase.IDLE)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read in our own words, quote nothing, and close. Raises ConnectionError, always.

        That is how aiohttp, too, ends a connection that takes no answer any more.
        """
        del message
        if self._wire is not None and self._phase is not _Phase.CLOSING:
            unreadable = status < HTTPStatus.INTERNAL_SERVER_ERROR
            error = type(exc).__name__
            if unreadable:
                self._listener.ended("unreadable")
                self._listener.log.warning("request_unreadable", error=error)
            else:
                self._listener.log.error("request_failed", error=error, where=_where(exc))
            if request.writer.output_size == 0:
                self._refuse(status)
            else:
                self._enter(_Phase.CLOSING)
        raise ConnectionError

    def give_up(self) -> None:
        """Close at once in favour of a new connection."""
        self._listener.ended("replaced")
        if self._wire is not None:
            self._wire.abort()

    @contextmanager
    def depending(self) -> Iterator[None]:
        """Cancel the current task when the connection ends while this block runs."""
        task = asyncio.current_task()
        assert task is not None
        if self._wire is None:
            task.cancel()
        self._depending.add(task)
        try:
            yield
        finally:
            self._depending.discard(task)

    def _enter(self, phase: _Phase) -> None:
        if self._wire is None:
            return
        self._phase = phase
        if phase in {_Phase.HEADERS, _Phase.IDLE}:
            self._listener.places.wait(self)
        else:
            self._listener.places.work(self)
        if self._deadline is None:
            self._deadline = Deadline(self._loop, _SECONDS_MAX[phase], self._late)
        else:
            self._deadline.set(_SECONDS_MAX[phase])

    def _late(self) -> None:
        wire = self._wire
        if wire is None:
            return
        match self._phase:
            case _Phase.HEADERS:
                self._listener.ended("headers" if self._asked else "unused")
                if self._asked:
                    self._refuse(HTTPStatus.REQUEST_TIMEOUT)
                self._end()
            case _Phase.IDLE:
                self._listener.ended("idle")
                self._end()
            case _Phase.WORKING:
                self._look_for_a_stall(wire)
            case _Phase.CLOSING:
                wire.abort()

    def _end(self) -> None:
        self._enter(_Phase.CLOSING)
        self.force_close()

    def _look_for_a_stall(self, wire: asyncio.Transport) -> None:
        left = wire.get_write_buffer_size()
        taken = (self._current.output_size if self._current is not None else 0) - left
        if left and taken - self._taken < STALL_BYTES_MIN:
            self._listener.ended("stalled")
            wire.abort()
            return
        self._taken = taken
        self._enter(_Phase.WORKING)

    def _refuse(self, status: int) -> None:
        """Write an answer without aiohttp, which would say its name and version and quote the request."""
        wire = self._wire
        self._enter(_Phase.CLOSING)
        if wire is None or wire.is_closing():
            return
        content_type, body = self._listener.refusal(status)
        head = (
            f"HTTP/1.1 {int(status)} {HTTPStatus(status).phrase}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
            "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        wire.write(head.encode() + body)


@contextmanager
def while_connected(request: web.BaseRequest) -> Iterator[None]:
    """Cancel this request's task when its client goes away while the block runs; for waits that change nothing."""
    connection = request.protocol
    if isinstance(connection, Connection):
        with connection.depending():
            yield
    else:
        yield


def _where(error: BaseException | None) -> str | None:
    """Return where an error was raised; its text might quote the request."""
    trace = error.__traceback__ if error is not None else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else f"{trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}"
