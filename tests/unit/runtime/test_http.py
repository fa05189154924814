"""Routes: who may call what, and what a wrong request is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import BaseModel, ConfigDict, SecretStr

from countersign.runtime.settings import Caller
from countersign.runtime.watching.metrics import Metrics
from countersign.runtime.web.http import CALLER, ProblemError, Route, application, body, parse_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN, OTHER = "t" * 32, "o" * 32


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    amount: int


async def _put(request: web.Request) -> web.Response:
    parse_id(request)
    asked = await body(request, _Body)
    return web.json_response({"amount": asked.amount, "caller": request[CALLER]})


async def _open(_request: web.Request) -> web.Response:
    raise ProblemError(429, "slow_down", "Later.", retry_after=1.2, tries_left=3)


async def _away(_request: web.Request) -> web.Response:
    raise ConnectionRefusedError


async def _bug(_request: web.Request) -> web.Response:
    raise ZeroDivisionError("secret detail")


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    routes = [
        Route("PUT", "/v1/things/{id}", _put, "things.put"),
        Route("GET", "/open", _open),
        Route("GET", "/away", _away),
        Route("GET", "/bug", _bug),
    ]
    callers = [
        Caller(name="gateway", token=SecretStr(TOKEN), routes=["things.put"]),
        Caller(name="other", token=SecretStr(OTHER), routes=[]),
    ]
    app = application(routes, callers, metrics=Metrics(), log=structlog.get_logger())
    async with TestClient(TestServer(app)) as client:
        yield client


ID = "0193c8f2-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("path", "bearer", "sent", "status", "kind"),
    [
        (f"/v1/things/{ID}", None, '{"amount": 1}', 401, "no_bearer"),
        (f"/v1/things/{ID}", "wrong", '{"amount": 1}', 401, "bearer_unknown"),
        (f"/v1/things/{ID}", OTHER, '{"amount": 1}', 403, "caller_not_allowed"),
        ("/v1/things/5", TOKEN, '{"amount": 1}', 400, "malformed_id"),
        ("/v1/things/" + ID.replace("-", ""), TOKEN, '{"amount": 1}', 400, "malformed_id"),
        (f"/v1/things/{ID}", TOKEN, "nope", 400, "not_json"),
        (f"/v1/things/{ID}", TOKEN, "[]", 422, "fields"),
        (f"/v1/things/{ID}", TOKEN, '{"amount": "1"}', 422, "fields"),
        (f"/v1/things/{ID}", TOKEN, '{"amount": 1, "more": 2}', 422, "fields"),
        (f"/v1/things/{ID}", TOKEN, '{"amount": 1' + " " * 70_000 + "}", 413, "too_large"),
        ("/nowhere", TOKEN, "", 404, "not_found"),
        ("/open", TOKEN, "", 405, "method_not_allowed"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(
    client: TestClient[web.Request, web.Application], path: str, bearer: str | None, sent: str, status: int, kind: str
) -> None:
    """Each in a problem document."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with client.put(path, data=sent, headers=headers) as answer:
        document = await answer.json(content_type="application/problem+json")
        assert (answer.status, document["type"]) == (status, f"urn:countersign:problem:{kind}")
        assert document["status"] == status
        assert document["detail"]


async def test_a_right_request_knows_its_caller(client: TestClient[web.Request, web.Application]) -> None:
    """The name of the calling service comes with the request."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with client.put(f"/v1/things/{ID}", data='{"amount": 1}', headers=headers) as answer:
        assert await answer.json() == {"amount": 1, "caller": "gateway"}


async def test_waits_and_members_are_told(client: TestClient[web.Request, web.Application]) -> None:
    """Retry-After is whole seconds, rounded up."""
    async with client.get("/open") as answer:
        assert answer.headers["Retry-After"] == "2"
        assert (await answer.json(content_type=None))["tries_left"] == 3


@pytest.mark.parametrize(("path", "status"), [("/away", 503), ("/bug", 500)])
async def test_trouble_of_ours_tells_nothing_of_it(
    client: TestClient[web.Request, web.Application], path: str, status: int
) -> None:
    """A server that is away is 503, a bug is 500; neither quotes the error."""
    async with client.get(path) as answer:
        assert answer.status == status
        assert "secret detail" not in await answer.text()
