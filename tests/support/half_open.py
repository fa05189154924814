"""Connections that never become a request, in numbers; bounded, and only to this machine."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BEGINNING = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "


class HalfOpen(asyncio.Protocol):
    """One of them. `ended` tells when the other side closed it, `answer` what it said."""

    def __init__(self, beginning: bytes) -> None:
        self._beginning = beginning
        self.transport: asyncio.Transport | None = None
        self.answer = b""
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the beginning of a request."""
        self.transport = transport  # type: ignore[assignment]  # uvloop's are no subclass of asyncio.Transport
        self.trickle(self._beginning)

    def data_received(self, data: bytes) -> None:
        """Keep what came back."""
        self.answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        """Take down that it is over."""
        del exc
        self.ended = True

    def trickle(self, data: bytes = b"a") -> None:
        """Send a further byte of the headers, as slow attackers do."""
        if self.transport is not None and not self.ended:
            self.transport.write(data)


@asynccontextmanager
async def half_open(port: int, number: int, beginning: bytes = BEGINNING) -> AsyncIterator[list[HalfOpen]]:
    """Open connections to a port of this machine, 100 at a time; those that are refused count as ended."""
    loop = asyncio.get_running_loop()
    opened: list[HalfOpen] = []

    async def one() -> None:
        protocol = HalfOpen(beginning)
        opened.append(protocol)
        try:
            await loop.create_connection(lambda: protocol, "127.0.0.1", port)
        except OSError:
            protocol.ended = True

    try:
        for _ in range(0, number, 100):
            await asyncio.gather(*(one() for _ in range(min(100, number))))
        yield opened
    finally:
        for protocol in opened:
            if protocol.transport is not None:
                protocol.transport.abort()
