"""A long answer is whole or visibly cut, and no more of them are sent at once than there are places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from countersign.runtime.web.streaming import Streams, TooManyStreamsError, send_in_pieces

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PIECES = (b"a" * 10, b"b" * 10, b"c" * 10)


async def pieces(fails_after: int | None, closed: list[str]) -> AsyncGenerator[bytes, None]:
    try:
        for n, piece in enumerate(PIECES):
            if n == fails_after:
                raise ConnectionResetError("gone")
            yield piece
    finally:
        closed.append("closed")


@pytest.mark.parametrize("fails_after", [None, 0, 2])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_part_is_never_taken_for_the_whole(fails_after: int | None, method: str) -> None:
    """Where a piece fails the connection is cut; either way the pieces' source is closed."""
    closed: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        return await send_in_pieces(request, {"Content-Type": "text/csv"}, 30, pieces(fails_after, closed))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with aiohttp.ClientSession() as http:
            asked = http.request(method, f"http://{host}:{port}/")
            if method == "HEAD" or fails_after is None:
                async with asked as reply:
                    body = await reply.read()
                    assert (reply.headers["Content-Length"], reply.headers["Content-Type"]) == ("30", "text/csv")
                assert body == (b"" if method == "HEAD" else b"".join(PIECES))
            else:
                with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
                    async with asked as reply:
                        await reply.read()
    finally:
        await runner.cleanup()
    assert closed == (["closed"] if method == "GET" else [])


async def test_one_more_than_there_are_places_is_told_at_once() -> None:
    """And a place is free again when its answer is over."""
    streams = Streams(at_once_max=1)
    async with streams.place():
        with pytest.raises(TooManyStreamsError):
            async with streams.place():
                pass
    async with streams.place():
        pass
