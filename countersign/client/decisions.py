"""What became of an access request: the verifier's long poll."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from countersign.client.calls import Caller, VerifierAwayError, unforeseen
from countersign.clock import id_of
from countersign.contract import DenialReason

if TYPE_CHECKING:
    from collections.abc import Callable

# Design, section 8: whoever waits gives up after this, all waits for a request taken together.
GIVE_UP_SECONDS = 150.0
_POLL_SECONDS = 10.0
_GRACE_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
_BREATH_SECONDS = 0.05

TextState = Literal["sending", "accepted", "unknown", "refused", "suppressed"]


class ChallengeState(BaseModel):
    """A challenge as its claimant may see it: two digits of the number, and what became of the latest text.

    `send` is the number of that text, `sent_at` when it was issued; None from a verifier that does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    challenge_id: UUID
    number_hint: str
    expires_at: AwareDatetime
    resend_after: AwareDatetime | None = None
    tries_left: int
    text: TextState
    send: int = 1
    sent_at: AwareDatetime | None = None


class RequestState(BaseModel):
    """What became of a request. `grant` is a JWS: check it with `Grants` before acting.

    `undecided`: no assessment came in time, ask again. `refused`: the record could not be read, and `cause` says why; a
    record under the same id that can be read is still judged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    request_id: UUID
    state: Literal["undecided", "challenged", "granted", "denied", "refused"]
    challenge: ChallengeState | None = None
    grant: Annotated[str | None, Field(repr=False)] = None
    reason: DenialReason | None = None
    retry_at: AwareDatetime | None = None
    cause: str | None = None

    @property
    def is_undecided(self) -> bool:
        """Tell whether nothing was judged yet; of a request that is known to be well made, a refusal is not its own."""
        return self.state in {"undecided", "refused"}


class Decisions(Caller):
    """Asks the verifier at `base_url` with the caller's bearer. Use it as an async context manager, or `close` it.

    A verifier that has not answered `grace_seconds` after the time it was given is away.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        grace_seconds: float = _GRACE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(base_url, token)
        self._grace_seconds = grace_seconds
        self._monotonic = monotonic

    async def wait(self, request_id: UUID | str, seconds: float, *, past_challenged: bool = False) -> RequestState:
        """Return the state as soon as the request is challenged, granted or denied, or after `seconds` as it then is.

        `seconds` is cut at 150. With `past_challenged` a challenge is waited through to its end. A verifier that is
        away is asked again within the time; raises VerifierAwayError if it still is then, CallRefusedError at once.
        """
        request_id = id_of(request_id, "request_id")
        end = self._monotonic() + min(max(seconds, 0.0), GIVE_UP_SECONDS)
        path = f"/v1/requests/{request_id}"
        found = RequestState(request_id=request_id, state="undecided")
        while True:
            left = end - self._monotonic()
            away: VerifierAwayError | None = None
            try:
                found = await self._ask(path, request_id, max(left, 0.0), past_challenged=past_challenged)
            except VerifierAwayError as error:
                away = error
            waits_on = {"undecided", "challenged"} if past_challenged else {"undecided"}
            ended = found.state not in waits_on
            if ended and away is None:
                return found
            if end - self._monotonic() <= _PAUSE_SECONDS:
                if away is not None:
                    raise away
                return found
            # A verifier that answers at once instead of holding the poll must not make this a busy loop.
            await asyncio.sleep(_PAUSE_SECONDS if away is not None else _BREATH_SECONDS)

    async def _ask(self, path: str, request_id: UUID, left: float, *, past_challenged: bool) -> RequestState:
        poll = min(left, _POLL_SECONDS)
        query = {"wait": f"{poll:.3f}"}
        if past_challenged:
            query["past"] = "challenged"
        reply = await self._call("GET", path, query=query, seconds=poll + self._grace_seconds)
        if reply.status == 404:  # noqa: PLR2004 - RFC 9110
            return RequestState(request_id=request_id, state="undecided")
        if reply.status == 429:  # noqa: PLR2004 - RFC 6585
            raise VerifierAwayError(f"{path}: the verifier is at its limit of waiters")
        if reply.status != 200:  # noqa: PLR2004
            raise unforeseen(reply, path)
        try:
            return RequestState.model_validate_json(reply.body)
        except ValidationError:
            raise unforeseen(reply, path) from None
