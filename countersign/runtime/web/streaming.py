"""Sending a long answer piece by piece: one piece is in memory at a time, however long the whole is."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

PIECE_BYTES = 256 * 1024  # chosen: some hundred round trips for the largest file
AT_ONCE_MAX = 40  # chosen: a process; each has one piece in memory and may have another in the socket's buffer
SECONDS_MAX = 1800.0  # chosen: 200 MB over 1 Mbit/s; who takes less than 500 bytes a second is cut off much earlier


# Name, value and source of each, for `limits`.
LIMITS = (
    ("files.at_once_max", str(AT_ONCE_MAX), "chosen: files that a process sends at once; the next one gets 503"),
    ("files.piece_bytes", str(PIECE_BYTES), "chosen: what a process holds of a file"),
    ("files.seconds_max", f"{SECONDS_MAX:.0f} s", "chosen: 200 MB over 1 Mbit/s"),
)


class TooManyStreamsError(ConnectionError):
    """As many long answers as a process sends at once are being sent; nothing was begun."""


class Streams:
    """The long answers of a process: at most AT_ONCE_MAX are sent at once."""

    def __init__(self, at_once_max: int = AT_ONCE_MAX) -> None:
        self._free = at_once_max

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Take a place for one answer. Raises TooManyStreamsError at once if there is none."""
        if not self._free:
            raise TooManyStreamsError("as many files as are sent at once are on their way")
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1


async def send_in_pieces(
    request: web.Request, headers: Mapping[str, str], size: int, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    """Send `size` bytes as they come. The next piece is asked for when the client has taken most of the one before.

    Once the headers are sent nothing else can be answered: raises what failed after cutting the connection, so that
    nobody takes a part for the whole.
    """
    response = web.StreamResponse(headers=headers)
    response.content_length = size
    async with aclosing(pieces):
        await response.prepare(request)
        if request.method == hdrs.METH_HEAD:
            return response
        try:
            async with asyncio.timeout(SECONDS_MAX):
                async for piece in pieces:
                    await response.write(piece)
                await response.write_eof()
        except BaseException:
            if request.transport is not None:
                request.transport.abort()
            raise
    return response
