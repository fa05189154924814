"""An SNS that answers as it is told, for the real AWS client to talk to: late, broken, throttled, or not at all."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING
from uuid import uuid4

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LAST_LINE = re.compile(r"\n@[a-z0-9.-]+ #([0-9]+)$")  # origin-bound: what tells a code from a notice
_XMLNS = "http://sns.amazonaws.com/doc/2010-03-31/"


class Reply(Enum):
    """What to answer. The value is HTTP status, code and message of SNS; status 0 is no answer at all."""

    ACCEPTED = (200, "", "")
    INTERNAL = (500, "InternalError", "Service failure")
    UNAVAILABLE = (503, "ServiceUnavailable", "try again")
    RESET = (0, "reset", "")
    SILENCE = (0, "silence", "")
    HALF = (0, "half", "")
    THROTTLED = (400, "Throttled", "Rate exceeded")
    THROTTLING = (400, "Throttling", "Rate exceeded")
    OPTED_OUT = (400, "OptedOut", "the number has opted out")
    INVALID = (400, "InvalidParameter", "Invalid parameter: PhoneNumber")
    STRANGE = (400, "SomethingNew", "unheard of")
    AUTHORIZATION = (403, "AuthorizationError", "not authorized to perform SNS:Publish")
    CREDENTIALS = (403, "InvalidClientTokenId", "The security token included in the request is invalid")
    SPEND_LIMIT = (400, "UserError", "No quota left for account")


@dataclass(frozen=True, slots=True)
class Publish:
    """One publish that arrived, and what was answered: whatever the answer, the text may have left."""

    number: str
    body: str
    attributes: dict[str, str]
    reply: Reply
    at: float

    @property
    def code(self) -> str:
        """Return the code, as a phone finds it in the last line."""
        found = _LAST_LINE.search(self.body)
        assert found, "a text without the origin-bound line"
        return found[1]


@dataclass
class SnsStandIn:
    """What arrived: `publishes` with codes, `notices` without. `replies` by number are used up, then `otherwise`."""

    url: str = ""
    publishes: list[Publish] = field(default_factory=list)
    notices: list[Publish] = field(default_factory=list)
    otherwise: Reply = Reply.ACCEPTED
    seconds: float = 0.0
    in_flight: int = 0
    in_flight_max: int = 0
    _replies: dict[str, list[Reply]] = field(default_factory=dict)
    _hold: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def come(self, port: int = 0) -> None:
        """Listen on that port, or where it listened before, or on a free one."""
        port = port or int(self.url.rpartition(":")[2] or 0)
        app = web.Application()
        app.router.add_post("/", self.handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def go(self) -> None:
        """Take no connections any more, and end those that are open."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def will_answer(self, number: str, *replies: Reply) -> None:
        """Answer the next publishes to a number so."""
        self._replies.setdefault(number, []).extend(replies)

    def to(self, number: str) -> list[Publish]:
        """Return what arrived for a number."""
        return [publish for publish in self.publishes if publish.number == number]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take what the AWS client posts."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form.get("Action") != "Publish":
            return _problem(400, "InvalidAction", "only Publish here")
        number = form["PhoneNumber"]
        waiting = self._replies.get(number)
        reply = waiting.pop(0) if waiting else self.otherwise
        now = asyncio.get_running_loop().time()
        publish = Publish(number, form["Message"], _attributes(form), reply, now)
        (self.publishes if _LAST_LINE.search(publish.body) else self.notices).append(publish)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(self.seconds)
            return await self._answer(request, reply)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        status, code, message = reply.value
        match reply:
            case Reply.ACCEPTED:
                return _accepted()
            case Reply.RESET:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case Reply.HALF:
                return await _half(request)
            case Reply.SILENCE:
                await self._hold.wait()
                return web.Response(status=503)
            case _:
                return _problem(status, code, message)

    def with_code(self, code: str) -> list[Publish]:
        """Return what arrived with a code."""
        return [publish for publish in self.publishes if publish.code == code]

    def let_go(self) -> None:
        """End every silence."""
        self._hold.set()


def _attributes(form: dict[str, str]) -> dict[str, str]:
    prefix = "MessageAttributes.entry."
    return {
        form[f"{prefix}{index}.Name"]: form[f"{prefix}{index}.Value.StringValue"]
        for index in range(1, 10)
        if f"{prefix}{index}.Name" in form
    }


def _accepted() -> web.Response:
    return _xml(
        200,
        f'<PublishResponse xmlns="{_XMLNS}"><PublishResult><MessageId>{uuid4()}</MessageId></PublishResult>'
        f"<ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata></PublishResponse>",
    )


def _problem(status: int, code: str, message: str) -> web.Response:
    return _xml(
        status,
        f'<ErrorResponse xmlns="{_XMLNS}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>'
        f"</Error><RequestId>{uuid4()}</RequestId></ErrorResponse>",
    )


def _xml(status: int, body: str) -> web.Response:
    return web.Response(status=status, text=body, content_type="text/xml")


async def _half(request: web.Request) -> web.StreamResponse:
    """Begin a good answer and hang up in the middle."""
    response = web.StreamResponse(headers={"Content-Type": "text/xml", "Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"<PublishResponse")
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def sns_stand_in(port: int = 0) -> AsyncIterator[SnsStandIn]:
    """Listen on that port of the loopback address, or on a free one."""
    stand_in = SnsStandIn()
    await stand_in.come(port)
    try:
        yield stand_in
    finally:
        stand_in.let_go()
        await stand_in.go()
