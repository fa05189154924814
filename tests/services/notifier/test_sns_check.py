"""What the notifier's check says of SNS: asked through the real AWS client, and nothing is ever sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.notifier.settings import SnsSettings
from services.notifier.sns_check import sns_check

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
SECRET = "what-nobody-may-see"


def settings(url: str) -> SnsSettings:
    return SnsSettings(endpoint_url=url, access_key_id="local", secret_access_key=SECRET)  # type: ignore[arg-type]


async def asked(status: int, code: str) -> tuple[Any, list[str]]:
    """Return the finding where SNS answers with that error, and the actions that it was asked for."""
    actions: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        actions.append(str((await request.post())["Action"]))
        body = f"<ErrorResponse><Error><Code>{code}</Code><Message>no {SECRET}</Message></Error></ErrorResponse>"
        return web.Response(status=status, text=body, content_type="text/xml")

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        (found,) = await sns_check(settings(f"http://127.0.0.1:{server.port}")).look()
    return found, actions


async def test_an_sns_that_answers_is_fine(servers: Servers) -> None:
    """With the count of numbers that have opted out."""
    (found,) = await sns_check(settings(servers.sns_url)).look()
    assert found.level == "ok"
    assert "answers and takes our credentials; numbers that have opted out:" in found.sentence


@pytest.mark.parametrize(
    ("status", "code", "level", "words"),
    [
        (403, "AuthorizationError", "ok", "we may not list who opted out (sns:ListPhoneNumbersOptedOut)"),
        (403, "InvalidClientTokenId", "error", "SNS refuses our credentials or rights (InvalidClientTokenId)"),
        (403, "SignatureDoesNotMatch", "error", "SNS refuses our credentials or rights"),
        (403, "RequestExpired", "error", "SNS refuses our clock"),
        (503, "ServiceUnavailable", "error", "answers 503 ServiceUnavailable"),
    ],
    ids=["right", "credentials", "signature", "clock", "away"],
)
async def test_what_sns_refuses_is_a_finding(status: int, code: str, level: str, words: str) -> None:
    """Once, by one harmless question; without a secret and without the words of the answer."""
    found, actions = await asked(status, code)
    assert (found.level, found.subject) == (level, "SNS")
    assert words in found.sentence
    assert SECRET not in str(found)
    assert actions == ["ListPhoneNumbersOptedOut"]
