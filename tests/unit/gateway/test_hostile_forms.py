"""Forms that no page of ours sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.gateway import guard, words
from services.gateway.guard import UnfitFormError, form_of
from services.gateway.visitor import VISITOR, Visitor, new_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ORIGIN = "https://pages.example"
VISITING = Visitor(new_secret(), None, None, words.load()["en"])


async def _take(request: web.Request) -> web.Response:
    request[VISITOR] = VISITING
    try:
        form = await form_of(request, ORIGIN)
    except UnfitFormError as unfit:
        return web.Response(status=unfit.status, text=unfit.kind)
    return web.json_response(form)


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    app = web.Application()
    app.router.add_post("/", _take)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("charset", ["unicode_escape", "utf-7", "utf-16", "punycode", "latin-1", "no-such", "hex"])
async def test_forms_are_read_as_utf8_alone(client: TestClient[web.Request, web.Application], charset: str) -> None:
    """Pages are UTF-8, so their forms are; of other codecs some bring texts that no column and no hash takes."""
    body = f"csrf={VISITING.csrf_token()}&email=\\ud800".encode()
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    answer = await client.post("/", data=body, headers={"Content-Type": kind, "Origin": ORIGIN})
    assert answer.status == 415


async def test_our_own_forms_are_read(client: TestClient[web.Request, web.Application]) -> None:
    """With and without the charset that browsers leave out."""
    for kind in ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=UTF-8"):
        body = f"csrf={VISITING.csrf_token()}&email=%C3%A9%00&password=a%00".encode()
        answer = await client.post("/", data=body, headers={"Content-Type": kind, "Origin": ORIGIN})
        assert (await answer.json())["email"] == "\u00e9"


async def test_a_form_that_never_comes_holds_nothing(
    client: TestClient[web.Request, web.Application], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends a byte a minute is let go."""
    monkeypatch.setattr(guard, "FORM_SECONDS_MAX", 0.2)
    assert client.server.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n")
    writer.write(b"Content-Length: 50\r\n\r\ncsrf=")
    async with asyncio.timeout(5):
        assert (await reader.readline()).split()[1] == b"408"
    writer.close()
