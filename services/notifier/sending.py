"""Due -> claim (commit) -> send -> settle, and the end of claims that nobody settled."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from countersign.clock import loop_seconds
from countersign.contract import ChallengeIssued
from countersign.contract.number import SealBrokenError as NumberBroken
from countersign.contract.number import open_number
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.tracing.spans import SpanKind, ours
from countersign.runtime.waker import Waker
from services.notifier import settling, store
from services.notifier.codes import open_code
from services.notifier.compose import compose
from services.notifier.decide import NUMBER_UNREADABLE, attempted, doubted, plan, withheld
from services.notifier.deliveries import with_delivery
from services.notifier.model import Answer, Receipt, Send, Settlement, Withhold
from services.notifier.pauses import pauses
from services.notifier.words import choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg
    import structlog

    from countersign.contract.number import PhoneNumber
    from countersign.policy import TextLimits
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import KeyRing
    from countersign.runtime.tracing.spans import Attributes
    from countersign.runtime.tracing.tracer import Tracer
    from services.notifier.counters import Counters
    from services.notifier.model import Candidate, SmsText
    from services.notifier.pauses import PauseCheck
    from services.notifier.provider import Provider
    from services.notifier.settings import TextSettings
    from services.notifier.words import Words

_SNS: Attributes = {"rpc.system": "aws-api", "rpc.service": "SNS", "rpc.method": "Publish"}
_LOOKS_UNTIL_DOUBT = 6  # so a claim is doubted a sixth of its time late at most: 5 s as shipped


class SmsSender(Protocol):
    """Sends one text, once. It answers whatever happens, and raises only for a bug."""

    async def send(self, number: PhoneNumber, text: SmsText) -> Receipt: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A text that is ours to send until `good_until`; its code is good for `life`.

    `judged_at` by the database's clock was `judged` by ours, in monotonic seconds as `good_until` is.
    """

    step: Send
    good_until: float
    life: timedelta
    judged_at: datetime
    judged: float

    def at(self, seconds: float) -> datetime:
        """Return the time by the database's clock at a monotonic time."""
        return self.judged_at + timedelta(seconds=seconds - self.judged)


@dataclass(frozen=True, slots=True)
class Rings:
    """What opens codes and numbers, for as long as it takes to send a text."""

    codes: KeyRing
    numbers: KeyRing


@dataclass(frozen=True, slots=True)
class Wording:
    """What texts are made of besides the challenge."""

    settings: TextSettings
    languages: Mapping[str, Words] = field(repr=False)

    def text_of(self, event: bytes, rings: Rings, life: timedelta) -> SmsText:
        """Open the code, still good for `life`, and return the text. Raises KeyUnknownError."""
        challenge = ChallengeIssued.model_validate_json(event)
        code = open_code(rings.codes.get(challenge.key_id).secret, json.loads(event))
        words = choose(self.languages, challenge.client.locale, self.settings.default_locale)
        return compose(
            words,
            challenge.action,
            code,
            summary=challenge.summary,
            client=challenge.client,
            life=life,
            brand=self.settings.brand,
            host=self.settings.host,
        )


class Texts:
    """Texts that are due. One is claimed once, by a commit, before it leaves; what is in doubt never leaves again.

    `parallel` are in flight at most. Half as many more are claimed, so that in a backlog none waits for a claim. A
    sender that comes later than `claim_good_for` after the claim leaves the text alone (decision 8).
    """

    name = "texts"
    every = 1.0
    leases = True
    settles_at_once = True

    def __init__(  # noqa: PLR0913 - the parts of a text on its way
        self,
        waker: Waker,
        sender: SmsSender,
        provider: Provider,
        pause_check: PauseCheck,
        *,
        rings: Rings,
        wording: Wording,
        limits: TextLimits,
        counters: Counters,
        parallel: int,
        claim_good_for: timedelta,
        tracer: Tracer,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.waker = waker
        self.parallel = parallel + parallel // 2
        self._in_flight = asyncio.Semaphore(parallel)
        self._sender = sender
        self._provider = provider
        self._pause_check = pause_check
        self._rings = rings
        self._wording = wording
        self._limits = limits
        self._counters = counters
        self._claim_good_for = claim_good_for
        self._tracer = tracer
        self._log = log

    async def take(self, db: Connection, limit: int) -> Sequence[Claim | Settlement]:
        """Claim texts that may leave, and lease those that never will until they are settled; delayed ones stay due."""
        started = loop_seconds()
        sending = self._provider.room(limit, started) > 0
        stopped = await pauses(db)
        candidates = await store.due(db, limit, sending=sending or bool(stopped))
        if not candidates:
            return ()
        recent, now = await store.recent(db, candidates, self._limits)
        judged = loop_seconds()
        room = self._provider.room(limit, started)  # asked again: the notices may have claimed the one try meanwhile
        steps = plan(candidates, recent, self._limits, room=room, now=now, pauses=stopped)
        self._provider.claimed(sum(isinstance(step, Send) for step in steps), started)
        await store.mark(db, steps, now)
        items: list[Claim | Settlement] = []
        for step in steps:
            if isinstance(step, Send):
                life = step.candidate.expires_at - now
                good_until = started + min(self._claim_good_for, life).total_seconds()
                items.append(Claim(step, good_until, life, now, judged))
            elif isinstance(step, Withhold):
                items.append(with_delivery(withheld(step), step.candidate.addressed, now))
        return items

    async def act(self, item: Claim | Settlement) -> Settlement:
        """Send a claimed text."""
        if isinstance(item, Settlement):
            return item
        async with self._in_flight:
            receipt, segments = await self._attempt(item)
        self._provider.heard(receipt, ended := loop_seconds())
        candidate = item.step.candidate
        return with_delivery(attempted(candidate, receipt, segments), candidate.addressed, item.at(ended))

    async def _attempt(self, claim: Claim) -> tuple[Receipt, int]:
        candidate, sealed = claim.step.candidate, claim.step.number
        try:
            text = self._wording.text_of(candidate.event, self._rings, claim.life)
            number_key = self._rings.numbers.get(sealed.key_id).secret
            number = open_number(number_key, sealed.sealed, sealed.user_id, sealed.country)
        except KeyUnknownError as missing:
            self._rings.codes.refresh()
            self._rings.numbers.refresh()
            self._log.error("key_unknown", ring=missing.ring, key_id=missing.key_id, **_story(candidate))
            return Receipt(Answer.NOT_SENT, "key.unknown"), 0
        except NumberBroken:
            self._log.error("number_unreadable", key_id=sealed.key_id, **_story(candidate))
            return Receipt(Answer.REFUSED, NUMBER_UNREADABLE), 0
        if (held := await self._pause_check.held(candidate.account_id, sealed.country)) is not None:
            return held, 0
        if loop_seconds() >= claim.good_until:
            return Receipt(Answer.NOT_SENT, "claim.late"), 0
        what = (str(candidate.key[0]), str(candidate.key[1]), str(candidate.claims))
        span = self._tracer.begin("SNS/Publish", SpanKind.CLIENT, candidate.traceparent, *what)
        receipt = await self._sender.send(number, text)
        left = receipt.answer is Answer.ACCEPTED
        told = ours(**_story(candidate), send=candidate.key[1], outcome=receipt.answer, reason=receipt.reason)
        span.end(told | _SNS, None if left else receipt.reason or receipt.answer.value)
        return receipt, text.segments

    async def settle(self, db: Connection, done: Sequence[Settlement]) -> Settled[asyncpg.Record | Settlement]:
        """Store what became of texts. Those that were doubted before are stored as they were."""
        rows, owed = await settling.settle(db, done)
        found = {(row["challenge_id"], row["send"]) for row in rows}
        return Settled(owed, [*rows, *(one for one in done if one.key not in found)])

    def committed(self, done: Sequence[asyncpg.Record | Settlement]) -> None:
        """Tell what became of texts, and of answers that came after the text was counted as unknown."""
        for one in done:
            if not isinstance(one, Settlement):
                tell(one, self._counters, self._log)
                continue
            self._log.warning("text_settled_late", challenge_id=str(one.key[0]), send=one.key[1], outcome=one.state)
            self._counters.late.inc()


class Doubts:
    """Claims that were not settled in time: their process died, or hangs. They end as unknown."""

    name = "texts_in_doubt"
    parallel = 500
    leases = False
    settles_at_once = True

    def __init__(
        self, counters: Counters, settled_within: timedelta, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self.waker = Waker()
        self.every = settled_within.total_seconds() / _LOOKS_UNTIL_DOUBT
        self._settled_within = settled_within
        self._counters = counters
        self._log = log

    async def take(self, db: Connection, limit: int) -> Sequence[Settlement]:
        """Look for them. No lease: settling twice is settling once."""
        found = await settling.in_doubt(db, limit, self._settled_within)
        return [with_delivery(doubted(key, claims), to, now) for now, key, claims, to in found]

    async def act(self, item: Settlement) -> Settlement:
        """Nothing can be done about it."""
        return item

    async def settle(self, db: Connection, done: Sequence[Settlement]) -> Settled[asyncpg.Record]:
        """Store them as unknown."""
        rows, owed = await settling.settle(db, done)
        return Settled(owed, rows)

    def committed(self, done: Sequence[asyncpg.Record]) -> None:
        """Tell the ends."""
        for row in done:
            tell(row, self._counters, self._log)


def tell(row: asyncpg.Record, counters: Counters, log: structlog.typing.FilteringBoundLogger) -> None:
    """Count and log what was stored of a text."""
    counters.count(row)
    log.info(
        "text_settled" if settling.is_end(row) else "text_due_again",
        request_id=row["request_id"],
        challenge_id=str(row["challenge_id"]),
        send=row["send"],
        account_id=str(row["account_id"]),
        user_id=str(row["user_id"]),
        outcome=row["state"],
        reason=row["reason"],
        country=row["country"],
        seconds=round(row["age_seconds"], 3),
    )


def _story(candidate: Candidate) -> dict[str, str]:
    """Return what each log line about a text names."""
    return {
        "request_id": json.loads(candidate.event)["request_id"],
        "challenge_id": str(candidate.key[0]),
        "account_id": str(candidate.account_id),
        "user_id": str(candidate.user_id),
    }
