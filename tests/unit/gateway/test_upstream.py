"""What the gateway asks other services, many at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

from aiohttp import web

from services.gateway.upstream import ExportOwner, Exports

TAKEN_SLOWLY = 150


async def test_150_files_that_are_taken_slowly_keep_no_page_waiting() -> None:
    """Each holds a connection until its browser has taken it; a page is answered meanwhile."""
    over = asyncio.Event()

    async def file(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(
            headers={"Content-Type": "text/csv", "Content-Disposition": "attachment", "Content-Length": "2"}
        )
        await answer.prepare(request)
        await answer.write(b"a")
        await over.wait()
        await answer.write(b"b")
        return answer

    async def lists(_request: web.Request) -> web.Response:
        return web.json_response({"lists": [{"list_id": str(uuid4()), "name": "Customers", "rows": 1}]})

    app = web.Application()
    app.router.add_get("/v1/exports/{id}/file", file)
    app.router.add_get("/v1/accounts/{id}/lists", lists)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=TAKEN_SLOWLY).start()
    exports = Exports("http://{}:{}".format(*runner.addresses[0][:2]), "a bearer")
    owner = ExportOwner(uuid4(), uuid4(), b"s" * 32)
    try:
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(20):
                opened = [await stack.enter_async_context(exports.file(uuid4(), owner)) for _ in range(TAKEN_SLOWLY)]
            assert [found.name for found in await exports.lists(uuid4())] == ["Customers"]
            over.set()
            contents = [b"".join([piece async for piece in one.pieces]) for one in opened if one is not None]
        assert contents == [b"ab"] * TAKEN_SLOWLY
    finally:
        over.set()
        await exports.close()
        await runner.cleanup()
