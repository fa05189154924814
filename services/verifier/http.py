"""The verifier's routes: what became of a request, answers, further texts, giving up, and the public keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from countersign.runtime.web.connections import while_connected
from countersign.runtime.web.http import CALLER, ProblemError, Route, body, parse_id
from services.verifier.challenges import Refused, Waiting
from services.verifier.codes import TYPED_CHARACTERS_MAX, normalise
from services.verifier.crowd import CrowdedError
from services.verifier.waiters import TooManyWaitersError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from countersign.runtime.checkpoint import Checkpoint
    from services.verifier.challenges import Challenges
    from services.verifier.crowd import Crowd
    from services.verifier.grants import Signer
    from services.verifier.store_requests import ChallengeState, RequestState
    from services.verifier.waiters import Waiters

WAIT_SECONDS_MAX = 60.0  # ours: below what proxies cut; a caller asks again
LOCKED_RETRY_SECONDS = 3600.0  # an account manager decides when; asking more often shows nothing new
JWKS_AGE_MAX_SECONDS = 300  # half of the time that a new key is published before it signs


class AnswerBody(BaseModel):
    """An answer as it was typed; `answer_id` is drawn by the caller for each submitted form."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    code: Annotated[str, Field(max_length=TYPED_CHARACTERS_MAX, repr=False)]
    answer_id: UUID


class Routes:
    """Turns calls into the service's words and its words into answers."""

    def __init__(  # noqa: PLR0913 - what routes need is what the parts are
        self,
        *,
        challenges: Challenges,
        waiters: Waiters,
        signer: Signer,
        answers: Crowd,
        others: Crowd,
        digits: int,
        now: Callable[[], Awaitable[datetime]],
        checkpoint: Checkpoint,
    ) -> None:
        self._challenges = challenges
        self._waiters = waiters
        self._signer = signer
        self._answers = answers
        self._others = others
        self._digits = digits
        self._now = now
        self._checkpoint = checkpoint

    def routes(self) -> Sequence[Route]:
        """Return the routes; the names are what a caller's settings list."""
        return (
            Route("GET", "/v1/requests/{id}", self.request, "requests.read"),
            Route("POST", "/v1/challenges/{id}/answers", self.answer, "challenges.answer"),
            Route("POST", "/v1/challenges/{id}/sends", self.resend, "challenges.resend"),
            Route("DELETE", "/v1/challenges/{id}", self.cancel, "challenges.cancel"),
            Route("GET", "/.well-known/jwks.json", self.jwks),
        )

    async def request(self, request: web.Request) -> web.Response:
        """Tell what became of a request, as soon as it is enough or `wait` is over."""
        request_id = parse_id(request)
        seconds = _seconds(request.query.get("wait", "0"))
        past = request.query.get("past")
        if past not in {None, "challenged"}:
            raise ProblemError(400, "malformed_query", "past: expected challenged.")
        try:
            with while_connected(request):
                state = await self._waiters.wait(
                    request_id, seconds, past_challenged=past == "challenged", caller=request[CALLER]
                )
        except TooManyWaitersError:
            raise ProblemError(
                429, "too_many_waiters", "As many requests as may wait here wait already.", retry_after=1
            ) from None
        if state is None:
            raise ProblemError(404, "request_unknown", "No assessment of this request came within the wait.")
        return _json(_request_state(state))

    async def answer(self, request: web.Request) -> web.Response:
        """Judge an answer."""
        challenge_id = parse_id(request)
        given = await body(request, AnswerBody)
        code = normalise(given.code, self._digits)
        if code is None:
            told = f"code: expected {self._digits} digits; spaces and hyphens may be between them"
            raise ProblemError(422, "code_off_form", f"{told}. No try was used.", errors=[told])
        try:
            # Whoever leaves before their turn leaves the door; once inside, an answer is judged, committed and replied.
            async with self._answers.through(challenge_id, while_connected(request)):
                reply = await self._challenges.answer(challenge_id, code, given.answer_id)
        except CrowdedError:
            raise _crowded() from None
        if reply is None:
            raise _unknown()
        if isinstance(reply, Waiting):
            raise _not_now(reply)
        response = _json(
            {
                "verdict": reply.verdict,
                "grant": reply.grant,
                "tries_left": reply.tries_left,
                "older": reply.older,
            }
        )
        await response.prepare(request)
        await response.write_eof()
        await self._checkpoint("answer_replied")
        return response

    async def resend(self, request: web.Request) -> web.Response:
        """Issue a further text."""
        challenge_id = parse_id(request)
        try:
            async with self._others.through(challenge_id, while_connected(request)):
                reply = await self._challenges.resend(challenge_id)
        except CrowdedError:
            raise _crowded() from None
        if reply is None:
            raise _unknown()
        if isinstance(reply, Waiting):
            raise _not_now(reply)
        if isinstance(reply, Refused):
            raise ProblemError(409, "no_further_text", reply.why)
        return _json({"send": reply.send, "resend_after": _time(reply.resend_after)}, status=202)

    async def cancel(self, request: web.Request) -> web.Response:
        """Give a challenge up."""
        challenge_id = parse_id(request)
        try:
            async with self._others.through(challenge_id, while_connected(request)):
                cancelled = await self._challenges.cancel(challenge_id)
        except CrowdedError:
            raise _crowded() from None
        if cancelled is None:
            raise _unknown()
        if not cancelled:
            raise ProblemError(409, "challenge_over", "The challenge came to another end before.")
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    async def jwks(self, _request: web.Request) -> web.Response:
        """Publish the keys that grants are checked with."""
        self._signer.refresh()
        keys = self._signer.jwks(await self._now())
        return web.json_response(keys, headers={"Cache-Control": f"public, max-age={JWKS_AGE_MAX_SECONDS}"})


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= WAIT_SECONDS_MAX:
        raise ProblemError(400, "malformed_query", f"wait: expected seconds from 0 to {WAIT_SECONDS_MAX:.0f}.")
    return seconds


def _not_now(waiting: Waiting) -> ProblemError:
    if waiting.seconds is None:
        return ProblemError(
            429,
            "locked",
            "Not judged: the user has to be unlocked by an account manager. No try was used.",
            retry_after=LOCKED_RETRY_SECONDS,
            retry_at=None,
        )
    return ProblemError(
        429, "wait", "Not now. No try was used.", retry_after=waiting.seconds, retry_at=_time(waiting.until)
    )


def _crowded() -> ProblemError:
    return ProblemError(429, "crowded", "Too many calls wait for this challenge. No try was used.", retry_after=1)


def _unknown() -> ProblemError:
    return ProblemError(404, "challenge_unknown", "There is no such challenge.")


def _request_state(state: RequestState) -> dict[str, Any]:
    return {
        "request_id": str(state.request_id),
        "state": state.state,
        "challenge": _challenge_state(state.challenge) if state.challenge else None,
        "grant": state.grant,
        "reason": state.reason,
        "retry_at": _time(state.retry_at),
        "cause": state.cause,
    }


def _challenge_state(challenge: ChallengeState) -> dict[str, Any]:
    return {
        "challenge_id": str(challenge.challenge_id),
        "number_hint": challenge.number_hint,
        "expires_at": _time(challenge.expires_at),
        "resend_after": _time(challenge.resend_after),
        "tries_left": challenge.tries_left,
        "text": challenge.text,
        "send": challenge.send,
        "sent_at": _time(challenge.sent_at),
    }


def _time(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time is not None else None


def _json(content: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Cache-Control": "no-store"})
