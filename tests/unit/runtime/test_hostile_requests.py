"""Requests that no client of ours makes: nothing of them is quoted in a log, and none costs more than its bytes."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel, SecretStr

from countersign.runtime.settings import Caller
from countersign.runtime.watching import logs
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web import http
from countersign.runtime.web.http import Route, Site, application, body
from countersign.runtime.web.listening import listening
from deploy.local.process import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

SESSION, BEARER, PASSWORD = "s3ss10n" + "S" * 36, "b34r3r" + "B" * 37, "hunter2-hunter2"
ASKED = b"PUT /open HTTP/1.1\r\nHost: x\r\n"
CHUNKED = ASKED + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class Amount(BaseModel):
    amount: int


async def _put(request: web.Request) -> web.Response:
    return web.json_response({"amount": (await body(request, Amount)).amount})


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Collect what is logged."""
    out = io.StringIO()
    with redirect_stdout(out):
        yield out


@pytest.fixture
async def port(logged: io.StringIO) -> AsyncIterator[int]:
    """Serve with the frame's own listener."""
    del logged  # where this logs to
    log = logs.configure("toy", "0", "DEBUG")
    app = application([Route("PUT", "/open", _put)], [], metrics=Metrics(), log=log)
    site = Site(app, "127.0.0.1", free_ports(1)[0])
    async with listening([site], Metrics(), log):
        yield site.port


async def exchange(port: int, *pieces: bytes) -> bytes:
    """Send bytes piece by piece and return what comes back first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        async with asyncio.timeout(5):
            return await reader.read(100_000)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (ASKED + f"Cookie: session={SESSION}\x01\r\n\r\n".encode(),),
        (ASKED + f"Cookie session={SESSION}\r\n\r\n".encode(),),
        (ASKED + f"Cookie: session={SESSION}{'a' * 9000}\r\n\r\n".encode(),),
        (ASKED + f"Authorization: {BEARER}\x00\r\n\r\n".encode(),),
        (f"PUT /open?session={SESSION} HTTP/1.1\r\nHost x\r\n\r\n".encode(),),
        (CHUNKED + f"password={PASSWORD}\r\n".encode(),),
    ],
)
async def test_what_cannot_be_read_is_not_quoted(port: int, pieces: tuple[bytes, ...], logged: io.StringIO) -> None:
    """Aiohttp puts the line that it stumbles over into its error; a cookie, a bearer or a password may stand there."""
    answer = await exchange(port, *pieces)
    assert answer.split()[1] == b"400"
    assert not any(secret in logged.getvalue() for secret in (SESSION, BEARER, PASSWORD))
    assert any(json.loads(line)["event"] == "request_unreadable" for line in logged.getvalue().splitlines())


async def test_a_body_that_never_comes_holds_nothing(
    port: int, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    """Too slow, or broken off in the middle (aiohttp then waits for ever): the caller is told, and let go."""
    monkeypatch.setattr(http, "BODY_SECONDS_MAX", 0.3)
    answers = await asyncio.gather(
        exchange(port, CHUNKED + b"3\r\nabc\r\n"),
        exchange(port, CHUNKED + b"3\r\nabc\r\n", f"password={PASSWORD}\r\n".encode()),
    )
    assert all(b"urn:countersign:problem:body_late" in answer for answer in answers)
    assert PASSWORD not in logged.getvalue()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_bodies_are_not_unpacked(port: int, encoding: str) -> None:
    """300 KB would become 300 MB, at seconds of our time for a request that needs no password."""
    packed = gzip.compress(b'{"amount": 1}')
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\nConnection: close\r\n\r\n".encode()
    answer = await exchange(port, ASKED + head + packed)
    assert b"urn:countersign:problem:not_json" in answer


async def test_a_wrapped_route_asks_for_its_bearer_too() -> None:
    """Aiohttp may put another function in the place of a handler; only what has no route at all needs no bearer."""
    caller = Caller(name="gateway", token=SecretStr("t" * 32), routes=["things.put"])
    app = application(
        [Route("PUT", "/named", _put, "things.put")], [caller], metrics=Metrics(), log=structlog.get_logger()
    )
    for route in app.router.routes():
        route._handler = _another(route.handler)  # noqa: SLF001 - what a decorator, or aiohttp itself, would do
    async with TestClient(TestServer(app)) as client:
        assert (await client.put("/named", json={"amount": 1})).status == 401
        assert (await client.put("/nowhere", json={"amount": 1})).status == 404


def _another(handler: Any) -> Any:
    async def wrapper(request: web.Request) -> Any:
        return await handler(request)

    return wrapper
