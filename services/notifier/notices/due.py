"""Notices on their way: due -> claim (commit) -> send -> settle, at a rate of their own and behind the codes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.clock import loop_seconds
from countersign.contract.number import SealBrokenError, open_number
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.waker import Waker
from services.notifier.decide import NUMBER_UNREADABLE
from services.notifier.model import Answer, Receipt
from services.notifier.notices import store
from services.notifier.notices.decide import attempted, plan, room_for
from services.notifier.notices.model import Send
from services.notifier.notices.words import notice
from services.notifier.pauses import pauses

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    import asyncpg
    import structlog

    from countersign.policy import TextLimits
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import Key, KeyRing
    from services.notifier.counters import Counters
    from services.notifier.model import SmsText
    from services.notifier.notices.model import Candidate, Settlement
    from services.notifier.notices.words import NoticeWords
    from services.notifier.pauses import PauseCheck
    from services.notifier.provider import Provider
    from services.notifier.sending import SmsSender


@dataclass(frozen=True, slots=True)
class Claim:
    """A notice that is ours to send until `good_until`, in monotonic seconds, and the key of its number."""

    step: Send
    key: Key
    good_until: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A notice that came to its end when it was taken, as it is stored."""

    row: asyncpg.Record = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wording:
    """What notices are made of besides what happened."""

    brand: str
    default_locale: str
    languages: Mapping[str, NoticeWords] = field(repr=False)

    def text_of(self, step: Send) -> SmsText:
        """Return the text."""
        candidate = step.candidate
        return notice(
            self.languages,
            self.default_locale,
            candidate.kind,
            brand=self.brand,
            reader=candidate.reader,
            ip=candidate.ip,
        )


class Notices:
    """Notices that are due. One is claimed once, by a commit, before it leaves; what is in doubt never leaves again.

    All processes together claim at most `rate` a second, and none while codes wait. Nobody wakes it: it looks once a
    second, and takes together what has come by then.
    """

    name = "notices"
    every = 1.0
    leases = True
    settles_at_once = True

    def __init__(  # noqa: PLR0913 - the parts of a text on its way
        self,
        sender: SmsSender,
        provider: Provider,
        pause_check: PauseCheck,
        *,
        numbers: KeyRing,
        wording: Wording,
        limits: TextLimits,
        counters: Counters,
        rate: int,
        parallel: int,
        claim_good_for: timedelta,
        settled_within: timedelta,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self.waker = Waker()
        self.parallel = parallel
        self._rate = rate
        self._sender = sender
        self._provider = provider
        self._pause_check = pause_check
        self._numbers = numbers
        self._wording = wording
        self._limits = limits
        self._counters = counters
        self._claim_good_for = claim_good_for
        self._settled_within = settled_within
        self._log = log

    async def take(self, db: Connection, limit: int) -> Sequence[Claim | Ended]:
        """End those in doubt and those that never leave; claim those that may leave; the others stay due."""
        started = loop_seconds()
        pace = await store.take_turn(db)
        ended = [Ended(row) for row in await store.doubt(db, self._settled_within)]
        room = min(limit, room_for(pace, self._rate, self._provider.room(limit, started)))
        stopped = await pauses(db)
        candidates = await store.due(db, sending=room > 0 or bool(stopped))
        if not candidates:
            return ended
        left = await store.left_today(db, candidates)
        keys = self._keys_of(candidates)
        room = self._provider.room(room, started)  # asked again: the codes may have claimed the one try meanwhile
        steps = plan(candidates, left, self._limits, keys=keys, room=room, now=pace.now, pauses=stopped)
        self._provider.claimed(sum(isinstance(step, Send) for step in steps), started)
        ended += [Ended(row) for row in await store.mark(db, steps, pace.now)]
        good_until = started + self._claim_good_for.total_seconds()
        claims = [Claim(step, keys[step.number.key_id], good_until) for step in steps if isinstance(step, Send)]
        return [*claims, *ended]

    def _keys_of(self, candidates: Sequence[Candidate]) -> Mapping[str, Key]:
        """Return the keys that open these numbers. One that is not there is told once, and the ring read again."""
        found: dict[str, Key] = {}
        for key_id in {one.number.key_id for one in candidates if one.number is not None}:
            try:
                found[key_id] = self._numbers.get(key_id)
            except KeyUnknownError as missing:
                self._numbers.refresh()
                self._log.error("key_unknown", ring=missing.ring, key_id=missing.key_id)
        return found

    async def act(self, item: Claim | Ended) -> Settlement | Ended:
        """Send a claimed notice. One that has come to its end was stored when it was taken, and is only told."""
        if isinstance(item, Ended):
            return item
        receipt, segments = await self._attempt(item)
        self._provider.heard(receipt, loop_seconds())
        return attempted(item.step.candidate, receipt, segments)

    async def _attempt(self, claim: Claim) -> tuple[Receipt, int]:
        sealed = claim.step.number
        try:
            number = open_number(claim.key.secret, sealed.sealed, sealed.user_id, sealed.country)
        except SealBrokenError:
            self._log.error("number_unreadable", user_id=str(sealed.user_id), key_id=sealed.key_id)
            return Receipt(Answer.REFUSED, NUMBER_UNREADABLE), 0
        text = self._wording.text_of(claim.step)
        if (held := await self._pause_check.held(claim.step.candidate.account_id, sealed.country)) is not None:
            return held, 0
        if loop_seconds() >= claim.good_until:
            return Receipt(Answer.NOT_SENT, "claim.late"), 0
        return await self._sender.send(number, text), text.segments

    async def settle(self, db: Connection, done: Sequence[Settlement | Ended]) -> Settled[asyncpg.Record]:
        """Store what became of notices. Nothing of it goes to Kafka: what they tell is on their own topics."""
        ended = [one.row for one in done if isinstance(one, Ended)]
        sent = [one for one in done if not isinstance(one, Ended)]
        return Settled(done=[*ended, *(await store.settle(db, sent) if sent else ())])

    def committed(self, done: Sequence[asyncpg.Record]) -> None:
        """Tell what became of notices."""
        for row in done:
            self._counters.notices.labels(row["kind"], row["state"], row["reason"] or "").inc()
            self._log.info(
                "notice_settled" if store.is_end(row) else "notice_due_again",
                kind=row["kind"],
                event_id=str(row["event_id"]),
                account_id=str(row["account_id"]),
                user_id=str(row["user_id"]),
                outcome=row["state"],
                reason=row["reason"],
                country=row["country"],
            )
