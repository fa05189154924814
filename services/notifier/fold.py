"""Challenges, folded into texts that are due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.contract import ChallengeIssued, reader
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import AT_ONCE, always
from countersign.runtime.publishing.outbox import NOTHING, append
from services.notifier import store
from services.notifier.decide import LATE, receive
from services.notifier.deliveries import late_delivery

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import KeyRing
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from countersign.runtime.waker import Waker
    from services.notifier.model import Dispatch, Known

_parse = reader(ChallengeIssued)
CODE_LIFE_MAX = timedelta(minutes=10)  # NIST SP 800-63B-4, 3.1.3.2; the verifier refuses to start with more


class Challenges:
    """The fold of access.challenges.v1. What it keeps wakes the sender."""

    topic = ChallengeIssued.topic
    dedupes_by_key = True
    delay_ms_max = AT_ONCE
    stale_after = CODE_LIFE_MAX
    saves_at_once = staticmethod(always)

    def __init__(self, code_keys: KeyRing, waker: Waker) -> None:
        self._code_keys = code_keys
        self._waker = waker

    def parse(self, record: Record) -> Incoming[ChallengeIssued] | None:
        return _parse(record)

    def keys(self, incoming: Incoming[ChallengeIssued]) -> tuple[Hashable, ...]:
        return (("text", incoming.event.challenge_id, incoming.event.send),)

    async def load(self, db: Connection, events: Sequence[Incoming[ChallengeIssued]]) -> tuple[Known, datetime]:
        self._code_keys.refresh()
        secrets = {key.key_id: key.secret for key in self._code_keys.all()}
        return await store.known(db, [(i.event.challenge_id, i.event.send) for i in events], secrets)

    def decide(self, incoming: Incoming[ChallengeIssued], state: Known, now: datetime) -> Dispatch | None:
        return receive(incoming, state, now)

    async def save(self, db: Connection, outcomes: Sequence[Dispatch], now: datetime) -> Kept:
        if not any(outcome.late for outcome in outcomes):
            await store.insert(db, outcomes, LATE)
            return NOTHING
        async with db.transaction():
            new = await store.insert(db, outcomes, LATE)
            return await append(db, [late_delivery(text, now) for text in outcomes if text.late and text.key in new])

    def effect(self, outcome: Dispatch) -> Effect:
        return Effect("text suppressed late") if outcome.late else Effect("text", forbidden=True)

    def committed(self, outcomes: Sequence[Dispatch]) -> None:
        if any(not outcome.late for outcome in outcomes):
            self._waker.wake()
