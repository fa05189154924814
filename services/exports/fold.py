"""Decisions of the verifier, and what becomes of the exports that asked for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.client.denial import jws_of
from countersign.contract import AccessDenied, AccessGranted, reader
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import never
from countersign.runtime.publishing.outbox import NOTHING
from services.exports import store
from services.exports.decide import decide
from services.exports.model import Denied, Granted, Held, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from datetime import datetime, timedelta

    import structlog
    from prometheus_client import Counter

    from countersign.client import Grants
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from countersign.runtime.waker import Waker

_read: Callable[[Record], Incoming[AccessGranted | AccessDenied] | None] = reader(AccessGranted, AccessDenied)


class ObeyDecisions:
    """An export goes on or ends with its decision; decisions of other actions are none of ours."""

    topic = AccessGranted.topic
    dedupes_by_key = True
    delay_ms_max = 50  # an account manager waits for the export that a decision allows
    stale_after = None
    saves_at_once = staticmethod(never)

    def __init__(
        self,
        grants: Grants,
        written_within: timedelta,
        writing: Waker,
        counter: Counter,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._grants = grants
        self._written_within = written_within
        self._writing = writing
        self._counter = counter
        self._log = log

    def parse(self, record: Record) -> Incoming[AccessGranted | AccessDenied] | None:
        incoming = _read(record)
        return incoming if incoming is not None and incoming.event.action == "export" else None

    def keys(self, incoming: Incoming[AccessGranted | AccessDenied]) -> tuple[Hashable, ...]:
        return (incoming.event.request_id,)

    async def load(
        self, db: Connection, events: Sequence[Incoming[AccessGranted | AccessDenied]]
    ) -> tuple[Held, datetime]:
        """Return the exports, locked, and the verifier's keys that are at hand."""
        self._grants.want(jws_of(incoming.event) for incoming in events)
        exports = await store.named(db, (incoming.event.request_id for incoming in events))
        now: datetime = await db.fetchval("SELECT clock_timestamp()")  # now() would be the time before the locks
        return Held(exports, self._grants.keys, self._grants.realm), now

    def decide(self, incoming: Incoming[AccessGranted | AccessDenied], state: Held, now: datetime) -> Outcome | None:
        return decide(incoming.event, state, now)

    async def save(self, db: Connection, outcomes: Sequence[Outcome], now: datetime) -> Kept:
        del now
        await store.save(db, outcomes, self._written_within)
        return NOTHING

    def effect(self, outcome: Outcome) -> Effect:
        """Say how the export goes on: with a grant its file can be written and fetched."""
        if isinstance(outcome, Granted):
            return Effect("grant obeyed", forbidden=True)
        return Effect(f"export denied {outcome.reason}" if isinstance(outcome, Denied) else "export ended late")

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            told = type(outcome).__name__.lower()
            self._counter.labels(told).inc()
            self._log.info(
                "export_decided",
                request_id=str(outcome.export.export_id),
                export_id=str(outcome.export.export_id),
                account_id=str(outcome.export.account_id),
                user_id=str(outcome.export.user_id),
                outcome=told,
                reason=outcome.reason if isinstance(outcome, Denied) else None,
            )
        if any(isinstance(outcome, Granted) for outcome in outcomes):
            self._writing.wake()
