"""Answering, texting again, giving up: read, judge, and store before the reply.

Reading locks nothing. What is stored is one statement that stores nothing unless all is as it was read.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from countersign.contract import Client, Summary
from countersign.runtime.errors import TooManyWaitingError
from countersign.runtime.tracing.spans import SpanKind, ours
from countersign.runtime.tracing.tracer import NO_TRACER
from services.verifier import store_challenges
from services.verifier.codes import draw
from services.verifier.decide_assessment import may_use_reserve
from services.verifier.issue import Text
from services.verifier.judge import GOOD_SENDS, give_up, is_older, judge, plan_resend, resend_after, told, weigh
from services.verifier.model import SendAgain, SendLater, SendNever, Wait
from services.verifier.store_challenges import ChangedMeanwhileError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer, Work
    from services.verifier.desk import Desk
    from services.verifier.model import Asked, Decision
    from services.verifier.store_challenges import Read
    from services.verifier.store_decisions import Decided


# How spans name the calls.
ANSWER = "POST /v1/challenges/{id}/answers"
RESEND = "POST /v1/challenges/{id}/sends"
CANCEL = "DELETE /v1/challenges/{id}"


@dataclass(frozen=True, slots=True)
class Answered:
    """What the claimant is told."""

    verdict: Literal["accepted", "wrong", "over"]
    tries_left: int
    grant: str | None = field(default=None, repr=False)
    older: bool = False
    """A wrong code that is the code of an earlier text of this challenge."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not now; `seconds` None: not before an account manager unlocks the user."""

    seconds: float | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Sent:
    """A text is on its way; the next may be asked for at `resend_after`, None: never."""

    send: int
    resend_after: datetime | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The challenge takes this no more."""

    why: str


ROUNDS_MAX = 50  # ours: far more than a user's open challenges have tries
Reply = TypeVar("Reply")
AnswerReply: TypeAlias = "Answered | Waiting | None"
SendReply: TypeAlias = "Sent | Waiting | Refused | None"


@dataclass(slots=True)
class _Work:
    """One try on a connection, and what is to happen once it is stored."""

    db: Connection
    due: list[Outgoing] = field(default_factory=list)
    ended: list[Decision] = field(default_factory=list)
    tell: list[Callable[[], None]] = field(default_factory=list)

    def decided(self, ending: Decision | None, decided: Decided) -> str | None:
        """Take down an end and its events; return the grant if it is one."""
        self.due += decided.events
        if ending is None:
            return None
        self.ended.append(ending)
        return decided.grants.get(ending.asked.request_id)

    def end_span(self, span: Work, asked: Asked, route: str, outcome: str) -> None:
        """Have the span of a call exported once this is stored."""
        method, _, path = route.partition(" ")
        ids = ours(request_id=asked.request_id, challenge_id=asked.challenge_id, user_id=asked.user_id, outcome=outcome)
        self.tell.append(partial(span.end, ids | {"http.request.method": method, "http.route": path}))


class Challenges:
    """What is called for a challenge. None in a reply: there is no such challenge."""

    def __init__(
        self,
        pool: Pool,
        publisher: Publisher,
        *,
        desk: Desk,
        digits: int,
        checkpoint: Checkpoint,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._pool = pool
        self._publisher = publisher
        self._desk = desk
        self._digits = digits
        self._checkpoint = checkpoint
        self._tracer = tracer

    async def answer(self, challenge_id: UUID, code: str, answer_id: UUID) -> AnswerReply:
        """Judge an answer. The same `answer_id` gets the same reply, whatever code comes with it."""

        async def once(work: _Work) -> AnswerReply:
            read = await store_challenges.read(work.db, challenge_id, GOOD_SENDS, answer_id)
            if read is None:
                return None
            await self._checkpoint("answer_read")
            if read.reply is None:
                return await self._judge(work, read, code, answer_id)
            if read.reply.accepted:
                return Answered("accepted", read.reply.tries_left, read.grant)
            return Answered("wrong", read.reply.tries_left, older=self._is_older(read, code))

        return await self._until_stored("answer", once)

    async def _judge(self, work: _Work, read: Read, code: str, answer_id: UUID) -> AnswerReply:
        seen = read.circumstances
        read, span = self._spanned(read, ANSWER, str(answer_id))
        verdict = judge(read.challenge, code, seen, self._desk.issuer.pepper)
        judged = weigh(read.challenge, verdict, seen)
        grant = None
        if judged.counts:
            if judged.accepted:
                self._desk.signer.refresh()
            counted = await store_challenges.count(work.db, read, judged, answer_id, self._desk.signer)
            grant = work.decided(judged.ending, counted)
        elif judged.ending is not None:
            await self._end(work, read, judged.ending)
        work.tell.append(partial(self._desk.journal.judged, read.challenge.asked, judged))
        work.end_span(span, read.challenge.asked, ANSWER, judged.verdict.value)
        word = told(verdict)
        if word == "wait":
            return _waiting(judged.wait, seen.now)
        older = word == "wrong" and self._is_older(read, code)
        return Answered(word, judged.tries_left if word != "over" else 0, grant, older)

    def _is_older(self, read: Read, code: str) -> bool:
        return is_older(read.challenge, code, read.circumstances, self._desk.issuer.pepper)

    async def resend(self, challenge_id: UUID) -> SendReply:
        """Issue a further text with a code of its own; tries and life go on."""

        async def once(work: _Work) -> SendReply:
            read = await store_challenges.read(work.db, challenge_id, GOOD_SENDS)
            if read is None:
                return None
            now = read.circumstances.now
            read, span = self._spanned(read, RESEND, str(read.sends), now.isoformat())
            plan = plan_resend(read.challenge, read.sends, read.last_at, read.circumstances)
            match plan:
                case SendLater(at):
                    return _waiting(Wait(at), now)
                case SendNever(why, ending):
                    if ending is not None:
                        await self._end(work, read, ending)
                        work.end_span(span, read.challenge.asked, RESEND, "refused")
                    return Refused(why)
                case SendAgain(send):
                    work.end_span(span, read.challenge.asked, RESEND, "sent")
                    return await self._send(work, read, send)

        return await self._until_stored("resend", once)

    async def _send(self, work: _Work, read: Read, send: int) -> Sent:
        challenge, now = read.challenge, read.circumstances.now
        assert challenge.asked.number_id is not None  # a challenge has one
        text = Text(
            challenge.asked,
            challenge.challenge_id,
            challenge.asked.number_id,
            send,
            Client.model_validate_json(read.client),
            Summary.model_validate_json(read.summary),
            challenge.expires_at,
            may_use_reserve(challenge.place_known, read.circumstances.protection),
        )
        self._desk.issuer.refresh()
        issued = self._desk.issuer.issue(text, draw(self._digits), now)
        work.due += await store_challenges.add_send(work.db, read, send, issued.code_digest, issued.event)
        work.tell.append(partial(self._desk.journal.sent, challenge.asked, send))
        return Sent(send, resend_after(send, now, challenge.expires_at))

    async def cancel(self, challenge_id: UUID) -> bool | None:
        """Give a challenge up; False: it came to another end before."""

        async def once(work: _Work) -> bool | None:
            read = await store_challenges.read(work.db, challenge_id, GOOD_SENDS)
            if read is None:
                return None
            if read.challenge.closed_at is not None:
                return read.decided == "cancelled"
            read, span = self._spanned(read, CANCEL)
            ending = give_up(read.challenge, read.circumstances.now)
            await self._end(work, read, ending)
            work.end_span(span, read.challenge.asked, CANCEL, ending.reason)
            return ending.reason == "cancelled"

        return await self._until_stored("cancel", once)

    def _spanned(self, read: Read, route: str, *what: str) -> tuple[Read, Work]:
        """Begin the span of a call; return the challenge so that what this publishes names that span."""
        asked = read.challenge.asked
        span = self._tracer.begin(route, SpanKind.SERVER, asked.traceparent, *what)
        if span.traceparent == asked.traceparent:
            return read, span
        asked = replace(asked, traceparent=span.traceparent)
        return replace(read, challenge=replace(read.challenge, asked=asked)), span

    async def _end(self, work: _Work, read: Read, ending: Decision) -> None:
        """Close the challenge with its decision."""
        work.decided(ending, await store_challenges.end(work.db, read, ending, self._desk.signer))

    async def _until_stored(self, what: str, once: Callable[[_Work], Awaitable[Reply]]) -> Reply:
        """Read, judge and store; then publish, and tell whoever waits."""
        work, reply = await self._stored(what, once)
        await self._checkpoint(f"{what}_committed")
        self._publisher.hand(work.due)
        self._desk.waiters.wake(decision.asked.request_id for decision in work.ended)
        for tell in work.tell:
            tell()
        self._desk.journal.ended(work.ended)
        return reply

    async def _stored(self, what: str, once: Callable[[_Work], Awaitable[Reply]]) -> tuple[_Work, Reply]:
        """Try until nothing changes between reading and storing. Raises TooManyWaitingError.

        What changed is that an answer of the same user was counted or the challenge was closed. Both have limits.
        """
        async with self._pool.acquire() as db:
            for _ in range(ROUNDS_MAX):
                work = _Work(db)
                with suppress(ChangedMeanwhileError):
                    return work, await once(work)
        raise TooManyWaitingError(f"{what}: it changed {ROUNDS_MAX} times between reading and storing")


def _waiting(wait: Wait | None, now: datetime) -> Waiting:
    if wait is None or wait.until is None:
        return Waiting(None, None)
    return Waiting(max(0.0, (wait.until - now).total_seconds()), wait.until)
