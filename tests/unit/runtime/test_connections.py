"""Connections on real sockets: deadlines, caps, and what is told to whoever does not speak HTTP."""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import structlog
from aiohttp import web

from countersign.runtime.settings import ConnectionSettings
from countersign.runtime.watching.health import Health, health_application
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web import connections, http
from countersign.runtime.web.connections import while_connected
from countersign.runtime.web.http import Route, Site, application, body
from countersign.runtime.web.listening import TooFewDescriptorsError, allow_descriptors, listening
from deploy.local.process import free_ports
from tests.support.half_open import half_open
from tests.support.kafka import eventually
from tests.unit.runtime.test_hostile_requests import ASKED, CHUNKED, Amount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET = b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /open HTTP/1.1\r\nHost: x\r\n"
LARGE = 64 * 1024 * 1024


class _Served:
    """A port with routes, one with the health application, and what happened to a handler that waits."""

    def __init__(self) -> None:
        self.port, self.health_port = free_ports(2)
        self.metrics = Metrics()
        self.waiting = 0
        self.stopped: list[str] = []

    async def get(self, _request: web.Request) -> web.Response:
        return web.json_response({"fine": True})

    async def put(self, request: web.Request) -> web.Response:
        return web.json_response({"amount": (await body(request, Amount)).amount})

    async def wait(self, request: web.Request) -> web.Response:
        self.waiting += 1
        try:
            with while_connected(request):
                await asyncio.sleep(60)
        finally:
            self.waiting -= 1
        return web.Response()

    async def large(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(LARGE))

    def ended(self, cause: str) -> float:
        """Return how many connections were ended for that cause."""
        value = self.metrics.registry.get_sample_value(
            "countersign_connections_ended_total", {"site": "http", "cause": cause}
        )
        assert value is not None
        return value

    def open(self) -> float:
        """Return how many connections are open."""
        value = self.metrics.registry.get_sample_value("countersign_connections", {"site": "http"})
        assert value is not None
        return value


@asynccontextmanager
async def serving(all_max: int = 64, address_max: int = 64) -> AsyncIterator[_Served]:
    """Serve with the frame's own listener."""
    served = _Served()
    routes = [
        Route("GET", "/open", served.get),
        Route("PUT", "/open", served.put),
        Route("GET", "/wait", served.wait),
        Route("GET", "/large", served.large),
    ]
    log = structlog.get_logger()
    app = application(routes, [], metrics=served.metrics, log=log)
    settings = ConnectionSettings(all_max=all_max, address_max=address_max)
    sites = [
        Site(app, "127.0.0.1", served.port, connections=settings),
        Site(health_application(Health(), served.metrics), "127.0.0.1", served.health_port, "health"),
    ]
    async with listening(sites, served.metrics, log):
        yield served


async def to_the_end(port: int, *pieces: bytes, within: float = 10) -> bytes:
    """Send bytes piece by piece, and return all that comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        async with asyncio.timeout(within):
            return await reader.read(-1)
    finally:
        writer.close()


def hurry(monkeypatch: pytest.MonkeyPatch, phase: str, seconds: float) -> None:
    """Shorten one of the deadlines."""
    monkeypatch.setitem(connections._SECONDS_MAX, connections._Phase[phase], seconds)  # noqa: SLF001 - its own test


@pytest.mark.parametrize("site", ["port", "health_port"])
async def test_half_open_connections_end(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly their headers come, and whether or not a byte came at all."""
    hurry(monkeypatch, "HEADERS", 2.0)
    async with serving() as served:
        port = getattr(served, site)
        async with half_open(port, 20) as slow, half_open(port, 20, b"") as silent:
            for _ in range(4):
                for one in slow:
                    one.trickle()
                await asyncio.sleep(0.1)
            assert not any(one.ended for one in (*slow, *silent))

            async def gone() -> bool:
                return all(one.ended for one in (*slow, *silent))

            await eventually(gone, within=10)
    assert all(b" 408 Request Timeout\r\n" in one.answer for one in slow)
    assert all(b"Connection: close\r\n" in one.answer for one in slow)
    assert not any(one.answer for one in silent)


async def test_an_idle_connection_ends_and_a_used_one_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests on one connection have each a time of their own."""
    hurry(monkeypatch, "IDLE", 1.5)
    hurry(monkeypatch, "HEADERS", 1.5)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        for _ in range(4):
            writer.write(GET)
            assert b"200" in await reader.readuntil(b'{"fine": true}')
            await asyncio.sleep(0.25)
        async with asyncio.timeout(10):
            assert await reader.read(-1) == b""
        assert served.ended("idle") == 1
        writer.close()


async def test_headers_of_a_second_request_have_a_deadline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good request first does not buy time for a slow one."""
    hurry(monkeypatch, "HEADERS", 0.5)
    async with serving() as served:
        answer = await to_the_end(served.port, GET, b"GET /open HTTP/1.1\r\nX-Slow: ", within=10)
        assert b'{"fine": true}HTTP/1.1 408' in answer
        assert served.ended("headers") == 1


@pytest.mark.parametrize("late", [b"", b"0\r\n\r\n"], ids=["never", "afterwards"])
async def test_after_a_late_body_the_connection_is_closed(late: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told so by a header, and done so, whether or not the rest comes after all."""
    monkeypatch.setattr(http, "BODY_SECONDS_MAX", 0.3)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(CHUNKED + b"3\r\nabc\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(late)
        assert b" 408 " in head
        assert b"Connection: close" in head
        async with asyncio.timeout(8):
            await reader.read(-1)
        writer.close()


async def test_a_client_that_does_not_take_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer, which may be a file, would stay in memory for as long as the client likes."""
    hurry(monkeypatch, "WORKING", 0.3)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port, limit=1024)
        writer.write(GET.replace(b"/open", b"/large"))

        async def stalled() -> bool:
            return served.ended("stalled") == 1 and served.open() == 0

        await eventually(stalled, within=10)
        writer.close()
        del reader


async def test_a_slow_client_that_takes_its_answer_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several looks long, with progress at each."""
    hurry(monkeypatch, "WORKING", 1.0)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(GET.replace(b"/open", b"/large").replace(b"Host", b"Connection: close\r\nHost"))
        taken = 0
        while chunk := await reader.read(1024 * 1024):
            taken += len(chunk)
            await asyncio.sleep(0.03)
        assert taken > LARGE
        assert served.ended("stalled") == 0
        writer.close()


async def test_an_address_has_a_cap_and_newcomers_get_in() -> None:
    """300 half-open connections to 32 places: those of the longest wait go, and a request is answered at once."""
    async with serving(all_max=64, address_max=32) as served, half_open(served.port, 300) as opened:

        async def settled() -> bool:
            return sum(not one.ended for one in opened) <= 32

        await eventually(settled, within=10)
        assert served.open() <= 32
        assert b'{"fine": true}' in await to_the_end(
            served.port, GET.replace(b"Host", b"Connection: close\r\nHost"), within=2
        )
        assert served.ended("replaced") >= 268


async def test_a_wait_ends_with_its_connection() -> None:
    """Whoever goes away frees what they held."""
    async with serving() as served:
        pairs = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(10)]
        for _, writer in pairs:
            writer.write(GET.replace(b"/open", b"/wait"))

        async def waiting() -> bool:
            return served.waiting == 10

        async def gone() -> bool:
            return served.waiting == 0 and served.open() == 0

        await eventually(waiting, within=10)
        for _, writer in pairs:
            writer.close()
        await eventually(gone, within=10)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"NONSENSE s3cr3t\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00s3cr3t\r\n\r\n", 400),
        (b"GET /s3cr3t HTTP/1.1\r\nHost x\r\n\r\n", 400),
        (POST + b"Content-Length: s3cr3t\r\n\r\n", 400),
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /open HTTP/1.1\r\nX-Long: s3cr3t" + b"a" * 9000 + b"\r\n\r\n", 400),
        (b"GET /" + b"s3cr3t" * 2000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (ASKED + b"Expect: s3cr3t\r\nConnection: close\r\n\r\n", 417),
        (b"GET /s3cr3t HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    ],
)
@pytest.mark.parametrize("site", ["port", "health_port"])
async def test_our_own_words_for_what_cannot_be_read(site: str, asked: bytes, status: int) -> None:
    """No page of a library, no name of one, nothing quoted; a document where there are documents, else a line."""
    if site == "health_port":
        asked = asked.replace(b" /open ", b" /livez ").replace(b"PUT", b"GET").replace(b"POST", b"GET")
    async with serving() as served:
        answer = await to_the_end(getattr(served, site), asked)
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == str(status).encode()
    assert b"connection: close" in head.lower()
    assert not any(word in answer.lower() for word in (b"aiohttp", b"python", b"server:", b"s3cr3t", b"<"))
    if site == "port":
        assert b"application/problem+json" in head
        assert json.loads(content)["status"] == status
    else:
        assert b"text/plain" in head
        assert len(content) < 40


@pytest.mark.parametrize(("site", "path"), [("port", "/open"), ("port", "/none"), ("health_port", "/readyz")])
async def test_no_answer_names_the_software(site: str, path: str) -> None:
    """Good answers and bad ones, routes and health."""
    async with serving() as served:
        asked = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        assert b"server:" not in (await to_the_end(getattr(served, site), asked)).lower()


def test_more_connections_than_descriptors_do_not_start() -> None:
    """Better than to lack them for the database in the middle of an attack."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_descriptors(64)
    if hard != resource.RLIM_INFINITY:
        with pytest.raises(TooFewDescriptorsError, match=r"connections\.all_max"):
            allow_descriptors(hard + 1)
