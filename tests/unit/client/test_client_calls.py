"""Waiting for decisions and answering challenges, against a server that answers as the contract says."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from aiohttp import web

from countersign.client import CallRefusedError, Challenges, Decisions, RequestState, VerifierAwayError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

REQUEST, CHALLENGE = uuid4(), uuid4()
BEARER = "b" * 40


class Script:
    """Answers one request after the other as written; the last one for ever. Keeps what was asked."""

    def __init__(self, *answers: tuple[int, Any] | Callable[[], web.Response]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.bearers: set[str | None] = set()

    async def answer(self, request: web.Request) -> web.Response:
        told = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path, dict(request.query), told))
        self.bearers.add(request.headers.get("Authorization"))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            return answer()
        status, body = answer
        return web.json_response(body, status=status) if body is not None else web.Response(status=status)


@asynccontextmanager
async def verifier(script: Script) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def a_state(state: str, **over: Any) -> dict[str, Any]:
    challenge = {
        "challenge_id": str(CHALLENGE),
        "number_hint": "+44 ••••••••78",
        "expires_at": "2026-05-04T12:05:00Z",
        "resend_after": "2026-05-04T12:00:30Z",
        "tries_left": 5,
        "text": "sending",
    }
    return {
        "request_id": str(REQUEST),
        "state": state,
        "challenge": challenge if state == "challenged" else None,
        "grant": "a.b.c" if state == "granted" else None,
        "reason": "code.expired" if state == "denied" else None,
        "retry_at": None,
        **over,
    }


async def waited(script: Script, seconds: float = 3, **over: Any) -> RequestState:
    async with verifier(script) as url, Decisions(url, BEARER) as decisions:
        return await decisions.wait(REQUEST, seconds, **over)


@pytest.mark.parametrize("state", ["challenged", "granted", "denied"])
async def test_each_state_is_told_at_once(state: str) -> None:
    """With what belongs to it, and the bearer is sent."""
    script = Script((200, a_state(state)))
    found = await waited(script)
    assert found.state == state
    assert (found.challenge is not None, found.grant is not None, found.reason is not None) == (
        state == "challenged",
        state == "granted",
        state == "denied",
    )
    ((method, path, query, _),) = script.asked
    assert (method, path) == ("GET", f"/v1/requests/{REQUEST}")
    assert 2.9 < float(query["wait"]) <= 3
    assert script.bearers == {f"Bearer {BEARER}"}
    assert "a.b.c" not in repr(found)


async def test_an_undecided_request_is_asked_for_again_until_the_time_is_up() -> None:
    """404 says that no assessment came yet, not that there is no such request."""
    assert (await waited(Script((404, {}), (404, {}), (200, a_state("granted"))))).state == "granted"
    assert (await waited(Script((404, {})), seconds=1)).state == "undecided"
    assert (await waited(Script((404, {})), seconds=0)).state == "undecided"


async def test_a_refusal_is_told_with_its_cause() -> None:
    """It ends the wait: the verifier tells it only when a poll is over."""
    script = Script((404, {}), (200, {"request_id": str(REQUEST), "state": "refused", "cause": "digest: missing"}))
    found = await waited(script, seconds=30)
    assert (found.state, found.cause, found.is_undecided) == ("refused", "digest: missing", True)
    assert len(script.asked) == 2


async def test_a_challenge_is_waited_through_where_that_is_asked() -> None:
    """`past=challenged` is the export page's way to see the end."""
    script = Script((200, a_state("challenged")), (200, a_state("granted")))
    assert (await waited(script, past_challenged=True)).state == "granted"
    assert script.asked[0][2]["past"] == "challenged"
    assert (await waited(Script((200, a_state("challenged"))), seconds=0.6, past_challenged=True)).state == "challenged"


async def test_a_verifier_that_comes_back_is_asked_again_and_one_that_does_not_is_told() -> None:
    """No decision is ever made up."""
    assert (await waited(Script((503, {}), (200, a_state("denied"))))).state == "denied"
    with pytest.raises(VerifierAwayError, match="503"):
        await waited(Script((503, {})), seconds=1)
    with pytest.raises(VerifierAwayError, match="unforeseen"):
        await waited(Script((200, {"state": "granted?"})), seconds=0.1)
    async with Decisions("http://127.0.0.1:9", BEARER) as decisions:
        with pytest.raises(VerifierAwayError, match="cannot be reached"):
            await decisions.wait(REQUEST, 0.1)


async def test_250_waits_at_once_are_250_answers() -> None:
    """Each holds a connection for as long as it waits; none of them waits for another's."""
    waits, here, all_here = 250, 0, asyncio.Event()

    async def hold(_request: web.Request) -> web.Response:
        nonlocal here
        here += 1
        if here == waits:
            all_here.set()
        try:
            await all_here.wait()
        finally:
            here -= 1  # whoever gave up and asks again is not counted twice
        return web.json_response(a_state("granted", grant="g"))

    app = web.Application()
    app.router.add_get("/v1/requests/{id}", hold)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=waits).start()
    try:
        url = "http://{}:{}".format(*runner.addresses[0][:2])
        async with Decisions(url, BEARER, grace_seconds=1) as decisions:
            states = await asyncio.gather(*(decisions.wait(uuid4(), seconds=25) for _ in range(waits)))
    finally:
        all_here.set()
        await runner.cleanup()
    assert [state.state for state in states] == ["granted"] * waits


async def test_a_wrong_bearer_is_told_at_once() -> None:
    """With the problem's words."""
    script = Script((403, {"title": "caller not allowed", "detail": "exports may not call requests.read."}))
    with pytest.raises(CallRefusedError, match="exports may not call") as refused:
        await waited(script)
    assert refused.value.status == 403
    assert len(script.asked) == 1


def too_early() -> web.Response:
    return web.json_response({}, status=429, headers={"Retry-After": "17"})


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ((200, {"verdict": "accepted", "grant": "a.b.c", "tries_left": 4}), ("accepted", "a.b.c", 4, None)),
        ((200, {"verdict": "wrong", "grant": None, "tries_left": 3}), ("wrong", None, 3, None)),
        ((200, {"verdict": "wrong", "grant": None, "tries_left": 3, "older": True}), ("wrong", None, 3, None)),
        ((200, {"verdict": "over", "grant": None, "tries_left": 0}), ("over", None, 0, None)),
        ((422, {}), ("off_form", None, None, None)),
        (too_early, ("wait", None, None, 17.0)),
        ((404, {}), ("unknown", None, None, None)),
    ],
)
async def test_every_answer_of_the_verifier_is_a_verdict(answer: Any, verdict: tuple[Any, ...]) -> None:
    """The code and the answer_id go as given."""
    script, answer_id = Script(answer), uuid4()
    async with verifier(script) as url, Challenges(url, BEARER) as challenges:
        found = await challenges.answer(CHALLENGE, "123 456", answer_id)
    assert (found.verdict, found.grant, found.tries_left, found.retry_after) == verdict
    assert found.older == (isinstance(answer, tuple) and "older" in answer[1])
    body = {"code": "123 456", "answer_id": str(answer_id)}
    assert script.asked == [("POST", f"/v1/challenges/{CHALLENGE}/answers", {}, body)]
    assert "a.b.c" not in repr(found)


async def test_without_an_answer_id_one_is_drawn() -> None:
    """Two forms are two answers."""
    script = Script((200, {"verdict": "wrong", "tries_left": 3}))
    async with verifier(script) as url, Challenges(url, BEARER) as challenges:
        await asyncio.gather(challenges.answer(CHALLENGE, "123456"), challenges.answer(CHALLENGE, "123456"))
    assert len({UUID(told["answer_id"]) for _, _, _, told in script.asked}) == 2


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((202, {"send": 2, "resend_after": "2026-05-04T12:01:00Z"}), ("sent", 2, None)),
        (too_early, ("wait", None, 17.0)),
        ((409, {}), ("over", None, None)),
        ((404, {}), ("unknown", None, None)),
    ],
)
async def test_asking_for_another_text(answer: Any, outcome: tuple[Any, ...]) -> None:
    """Each answer of the verifier has its word."""
    async with verifier(Script(answer)) as url, Challenges(url, BEARER) as challenges:
        found = await challenges.resend(CHALLENGE)
    assert (found.outcome, found.send, found.retry_after) == outcome


async def test_giving_up() -> None:
    """Twice is once."""
    script = Script((204, None), (404, {}))
    async with verifier(script) as url, Challenges(url, BEARER) as challenges:
        assert await challenges.cancel(CHALLENGE) is True
        assert await challenges.cancel(CHALLENGE) is False
    assert script.asked[0][:2] == ("DELETE", f"/v1/challenges/{CHALLENGE}")


@pytest.mark.parametrize("answer", [(418, {}), (302, {}), (200, {"verdict": "maybe"}), (200, [])])
async def test_what_no_verifier_answers_is_no_verdict(answer: tuple[int, Any]) -> None:
    """A proxy in between must not look like a decision."""
    async with verifier(Script(answer)) as url, Challenges(url, BEARER) as challenges:
        with pytest.raises(VerifierAwayError, match="unforeseen"):
            await challenges.answer(CHALLENGE, "123456")
        with pytest.raises(VerifierAwayError, match="unforeseen"):
            await challenges.resend(CHALLENGE)


async def test_a_body_in_pieces_is_read_whole_and_one_without_end_is_not() -> None:
    """A proxy may send a reply in as many pieces as it likes."""
    pieces = [b'{"verdict": "wrong",', b' "tries_left": ', b"3}"]

    async def slowly(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        for piece in pieces:
            await reply.write(piece)
            await asyncio.sleep(0.02)
        return reply

    script = Script((200, {}))
    script.answer = slowly  # type: ignore[method-assign,assignment] # one reply that no script can write
    async with verifier(script) as url, Challenges(url, BEARER) as challenges:
        assert (await challenges.answer(CHALLENGE, "123456")).tries_left == 3
        pieces[:] = [b"x" * 100_000] * 4
        with pytest.raises(VerifierAwayError, match="ClientPayloadError"):
            await challenges.answer(CHALLENGE, "123456")


async def test_a_verifier_that_hangs_is_away_after_the_time_that_the_caller_allows() -> None:
    """As a frozen process is: its system takes the connection and nobody answers."""
    async with asyncio.timeout(4), hanging() as url:
        async with Decisions(url, BEARER, grace_seconds=0.2) as decisions:
            with pytest.raises(VerifierAwayError, match="cannot be reached"):
                await decisions.wait(REQUEST, 0)
        async with Challenges(url, BEARER, answered_in_seconds=0.2) as challenges:
            with pytest.raises(VerifierAwayError, match="cannot be reached"):
                await challenges.answer(CHALLENGE, "123456")


@asynccontextmanager
async def hanging() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:  # the connections wait in its backlog
        yield "http://{}:{}".format(*listening.getsockname())
