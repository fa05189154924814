"""Answering a challenge, asking for another text, giving it up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from countersign.client.calls import Caller, Reply, unforeseen
from countersign.clock import id_of, new_id

if TYPE_CHECKING:
    from uuid import UUID

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the claimant learns.

    - `accepted`: `grant` is the JWS
    - `wrong`: `tries_left` remain; `older`: it is the code of an earlier text, which is not good any more
    - `over`: expired, exhausted or closed, it is not said which
    - `off_form`: not six digits (eight by setting), no try was used
    - `wait`: not judged, again after `retry_after` seconds, no try was used
    - `unknown`: there is no such challenge
    """

    verdict: Literal["accepted", "wrong", "over", "off_form", "wait", "unknown"]
    grant: str | None = field(default=None, repr=False)
    tries_left: int | None = None
    retry_after: float | None = None
    older: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resent:
    """What became of asking for another text.

    - `sent`: text number `send` is on its way, the next may be asked for at `resend_after`
    - `wait`: none was sent, again after `retry_after` seconds
    - `over`: no further text for this challenge, ever
    - `unknown`: there is no such challenge
    """

    outcome: Literal["sent", "wait", "over", "unknown"]
    send: int | None = None
    resend_after: AwareDatetime | None = None
    retry_after: float | None = None


class _Judged(BaseModel):
    model_config = ConfigDict(extra="ignore")

    verdict: Literal["accepted", "wrong", "over"]
    grant: str | None = None
    tries_left: int | None = None
    older: bool = False


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore")

    send: int
    resend_after: AwareDatetime | None = None


class Challenges(Caller):
    """Calls the verifier at `base_url` with the caller's bearer. Use it as an async context manager, or `close` it.

    Every method raises VerifierAwayError and CallRefusedError.
    """

    async def answer(self, challenge_id: UUID | str, code: str, answer_id: UUID | str | None = None) -> Verdict:
        """Give the code as it was typed: the verifier forgives spaces, hyphens and full-width digits.

        The same `answer_id` gets the same reply and uses no second try: draw one per submitted form and repeat with it
        after VerifierAwayError.
        """
        path = f"/v1/challenges/{id_of(challenge_id, 'challenge_id')}/answers"
        body = {"code": code, "answer_id": str(id_of(answer_id or new_id(), "answer_id"))}
        reply = await self._call("POST", path, body=body)
        match reply.status:
            case 200:
                judged = _read(_Judged, reply, path)
                return Verdict(
                    verdict=judged.verdict, grant=judged.grant, tries_left=judged.tries_left, older=judged.older
                )
            case 422:
                return Verdict(verdict="off_form")
            case 429:
                return Verdict(verdict="wait", retry_after=reply.retry_after())
            case 404:
                return Verdict(verdict="unknown")
            case _:
                raise unforeseen(reply, path)

    async def resend(self, challenge_id: UUID | str) -> Resent:
        """Ask for another text; the tries are those of the challenge and do not begin anew."""
        path = f"/v1/challenges/{id_of(challenge_id, 'challenge_id')}/sends"
        reply = await self._call("POST", path, body={})
        match reply.status:
            case 202:
                sent = _read(_Sent, reply, path)
                return Resent(outcome="sent", send=sent.send, resend_after=sent.resend_after)
            case 429:
                return Resent(outcome="wait", retry_after=reply.retry_after())
            case 409:
                return Resent(outcome="over")
            case 404:
                return Resent(outcome="unknown")
            case _:
                raise unforeseen(reply, path)

    async def cancel(self, challenge_id: UUID | str) -> bool:
        """Give the challenge up: its request is denied as `cancelled`. False if there is none or it is over."""
        path = f"/v1/challenges/{id_of(challenge_id, 'challenge_id')}"
        reply = await self._call("DELETE", path)
        match reply.status:
            case 204:
                return True
            case 404 | 409:
                return False
            case _:
                raise unforeseen(reply, path)


def _read(model: type[M], reply: Reply, path: str) -> M:
    try:
        return model.model_validate_json(reply.body)
    except ValidationError:
        raise unforeseen(reply, path) from None
