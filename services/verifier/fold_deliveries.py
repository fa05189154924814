"""sms.deliveries.v1: what became of each text; a challenge none of whose texts will arrive is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.contract import SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown, reader
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import PATIENTLY
from services.verifier import store_decisions, store_deliveries
from services.verifier.decide_delivery import deliver, may_end

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.verifier.decide_delivery import Delivery, Texts
    from services.verifier.desk import Desk
    from services.verifier.model import Delivered


class DeliveryFold:
    """Keeps the state of each text, and closes what is undeliverable."""

    topic = SmsAccepted.topic
    dedupes_by_key = True
    delay_ms_max = PATIENTLY
    stale_after = None

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def parse(self, record: Record) -> Incoming[Delivery] | None:
        """Return what became of a text. Raises OffContractError."""
        return _read(record)

    def keys(self, incoming: Incoming[Delivery]) -> tuple[Hashable, ...]:
        """Each challenge once a round: its texts are judged together."""
        return (("challenge", incoming.event.challenge_id),)

    def saves_at_once(self, events: Sequence[Incoming[Delivery]]) -> bool:
        """Tell whether none of these can end a challenge: a text that left, or may have, closes nothing."""
        return not any(may_end(incoming.event) for incoming in events)

    async def load(self, db: Connection, events: Sequence[Incoming[Delivery]]) -> tuple[Mapping[UUID, Texts], datetime]:
        """Return the challenges with their texts; locked, if one may end."""
        lock = not self.saves_at_once(events)
        return await store_deliveries.load(db, [incoming.event.challenge_id for incoming in events], lock=lock)

    def decide(self, incoming: Incoming[Delivery], state: Mapping[UUID, Texts], now: datetime) -> Delivered | None:
        """Return what follows for the text and its challenge."""
        del now
        return deliver(incoming.event, state.get(incoming.event.challenge_id))

    async def save(self, db: Connection, outcomes: Sequence[Delivered], now: datetime) -> Kept:
        """Store the texts' states, and the decisions about challenges that none of them will reach."""
        await store_deliveries.deliver(db, outcomes)
        ended = {one.challenge_id: one.ending for one in outcomes if one.ending is not None}
        closed = await store_decisions.close(db, list(ended), now)
        decisions = [ended[asked.challenge_id] for asked in closed if asked.challenge_id is not None]
        decided = await store_decisions.decide(db, decisions, self._desk.signer, now)
        return decided.events

    def effect(self, outcome: Delivered) -> Effect:
        """Say what is written down of the text, or how its challenge ends with it."""
        if outcome.ending is not None:
            return Effect(f"denied {outcome.ending.reason}")
        return Effect(f"text settled as {outcome.send.state}")

    def committed(self, outcomes: Sequence[Delivered]) -> None:
        """Wake whoever waits for the end of one of these."""
        for one in outcomes:
            self._desk.journal.delivered(one)
        endings = [one.ending for one in outcomes if one.ending is not None]
        self._desk.journal.ended(endings)
        self._desk.waiters.wake(ending.asked.request_id for ending in endings)


_read: Callable[[Record], Incoming[Delivery] | None] = reader(SmsAccepted, SmsRefused, SmsSuppressed, SmsUnknown)
