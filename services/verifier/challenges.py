"""Answering, texting again, giving up: each one transaction on one locked challenge, committed before the reply."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeAlias

from countersign.runtime.publishing import outbox
from countersign.runtime.tracing.spans import SpanKind, ours
from countersign.runtime.tracing.tracer import NO_TRACER
from services.verifier import store_challenges, store_decisions
from services.verifier.codes import draw
from services.verifier.decide_assessment import may_use_reserve
from services.verifier.issue import Text
from services.verifier.judge import GOOD_SENDS, give_up, is_older, judge, plan_resend, resend_after, told, weigh
from services.verifier.model import SendAgain, SendLater, SendNever, Wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer, Work
    from services.verifier.desk import Desk
    from services.verifier.model import Asked, Decision
    from services.verifier.store_challenges import Locked, Seen
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


AnswerReply: TypeAlias = "Answered | Waiting | None"
SendReply: TypeAlias = "Sent | Waiting | Refused | None"


@dataclass(slots=True)
class _Work:
    """An open transaction, and what is to happen when it is committed."""

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
        """Have the span of a call exported once this is committed."""
        method, _, path = route.partition(" ")
        ids = ours(request_id=asked.request_id, challenge_id=asked.challenge_id, user_id=asked.user_id, outcome=outcome)
        self.tell.append(partial(span.end, ids | {"http.request.method": method, "http.route": path}))


class Challenges:
    """The critical sections of a challenge. None in a reply: there is no such challenge."""

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
        async with self._transaction("answer") as work:
            locked = await store_challenges.lock(work.db, challenge_id)
            if locked is None:
                return None
            await self._checkpoint("answer_locked")
            seen = await store_challenges.see(work.db, locked, GOOD_SENDS, answer_id)
            if seen.reply is not None:
                if seen.reply.accepted:
                    return Answered("accepted", seen.reply.tries_left, seen.grant)
                return Answered("wrong", seen.reply.tries_left, older=self._is_older(locked, seen, code))
            return await self._judge(work, locked, seen, code, answer_id)

    async def _judge(self, work: _Work, locked: Locked, seen: Seen, code: str, answer_id: UUID) -> AnswerReply:
        now = seen.circumstances.now
        locked, span = self._spanned(locked, ANSWER, str(answer_id))
        verdict = judge(locked.challenge, code, seen.circumstances, self._desk.issuer.pepper)
        judged = weigh(locked.challenge, verdict, seen.circumstances)
        grant = None
        if judged.counts:
            if judged.accepted:
                self._desk.signer.refresh()
            counted = await store_challenges.count(
                work.db, locked.challenge, judged, answer_id, signer=self._desk.signer, now=now
            )
            grant = work.decided(judged.ending, counted)
        elif judged.ending is not None:
            await self._end(work, judged.ending, now)
        work.tell.append(partial(self._desk.journal.judged, locked.challenge.asked, judged))
        work.end_span(span, locked.challenge.asked, ANSWER, judged.verdict.value)
        word = told(verdict)
        if word == "wait":
            return _waiting(judged.wait, now)
        older = word == "wrong" and self._is_older(locked, seen, code)
        return Answered(word, judged.tries_left if word != "over" else 0, grant, older)

    def _is_older(self, locked: Locked, seen: Seen, code: str) -> bool:
        return is_older(locked.challenge, code, seen.circumstances, self._desk.issuer.pepper)

    async def resend(self, challenge_id: UUID) -> SendReply:
        """Issue a further text with a code of its own; tries and life go on."""
        async with self._transaction("resend") as work:
            locked = await store_challenges.lock(work.db, challenge_id)
            if locked is None:
                return None
            seen = await store_challenges.see(work.db, locked, GOOD_SENDS)
            now = seen.circumstances.now
            locked, span = self._spanned(locked, RESEND, str(seen.sends), now.isoformat())
            plan = plan_resend(locked.challenge, seen.sends, seen.last_at, seen.circumstances)
            match plan:
                case SendLater(at):
                    return _waiting(Wait(at), now)
                case SendNever(why, ending):
                    if ending is not None:
                        await self._end(work, ending, now)
                        work.end_span(span, locked.challenge.asked, RESEND, "refused")
                    return Refused(why)
                case SendAgain(send):
                    work.end_span(span, locked.challenge.asked, RESEND, "sent")
                    reserved = may_use_reserve(locked.challenge.place_known, seen.circumstances.protection)
                    return await self._send(work, locked, send, now, reserved=reserved)

    async def _send(self, work: _Work, locked: Locked, send: int, now: datetime, *, reserved: bool) -> Sent:
        challenge = locked.challenge
        assert challenge.asked.number_id is not None  # a challenge has one
        text = Text(
            challenge.asked,
            challenge.challenge_id,
            challenge.asked.number_id,
            send,
            locked.client,
            locked.summary,
            challenge.expires_at,
            reserved,
        )
        self._desk.issuer.refresh()
        issued = self._desk.issuer.issue(text, draw(self._digits), now)
        await store_challenges.add_send(work.db, challenge.challenge_id, send, issued.code_digest, now)
        work.due += await outbox.append(work.db, [issued.event])
        work.tell.append(partial(self._desk.journal.sent, challenge.asked, send))
        return Sent(send, resend_after(send, now, challenge.expires_at))

    async def cancel(self, challenge_id: UUID) -> bool | None:
        """Give a challenge up; False: it came to another end before."""
        async with self._transaction("cancel") as work:
            locked = await store_challenges.lock(work.db, challenge_id)
            if locked is None:
                return None
            seen = await store_challenges.see(work.db, locked, GOOD_SENDS)
            if locked.challenge.closed_at is not None:
                return seen.decided == "cancelled"
            locked, span = self._spanned(locked, CANCEL)
            ending = give_up(locked.challenge, seen.circumstances.now)
            await self._end(work, ending, seen.circumstances.now)
            work.end_span(span, locked.challenge.asked, CANCEL, ending.reason)
            return ending.reason == "cancelled"

    def _spanned(self, locked: Locked, route: str, *what: str) -> tuple[Locked, Work]:
        """Begin the span of a call; return the challenge so that what this publishes names that span."""
        asked = locked.challenge.asked
        span = self._tracer.begin(route, SpanKind.SERVER, asked.traceparent, *what)
        if span.traceparent == asked.traceparent:
            return locked, span
        asked = replace(asked, traceparent=span.traceparent)
        return replace(locked, challenge=replace(locked.challenge, asked=asked)), span

    async def _end(self, work: _Work, decision: Decision, now: datetime) -> None:
        """Close the challenge, unless it is, with its decision."""
        assert decision.asked.challenge_id is not None  # what has no challenge is decided by the fold
        await store_decisions.close(work.db, [decision.asked.challenge_id], now)
        work.decided(decision, await store_decisions.decide(work.db, [decision], self._desk.signer, now))

    @asynccontextmanager
    async def _transaction(self, what: str) -> AsyncIterator[_Work]:
        async with self._pool.acquire() as db:
            work = _Work(db)
            async with db.transaction():
                yield work
        await self._checkpoint(f"{what}_committed")
        self._publisher.hand(work.due)
        self._desk.waiters.wake(decision.asked.request_id for decision in work.ended)
        for tell in work.tell:
            tell()
        self._desk.journal.ended(work.ended)


def _waiting(wait: Wait | None, now: datetime) -> Waiting:
    if wait is None or wait.until is None:
        return Waiting(None, None)
    return Waiting(max(0.0, (wait.until - now).total_seconds()), wait.until)
