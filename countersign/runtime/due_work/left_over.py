"""Outbox rows that nobody is publishing: their process died, or the brokers took no records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.clock import loop_seconds
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.publishing import outbox
from countersign.runtime.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.watching.metrics import Metrics

LOOK_EVERY_SECONDS = 1.5
LOOK_SHARE_MAX = 0.01  # of the time, that counting a large outbox may take


class LeftOver:
    """The sweeper of the outbox: due work like any other. It leases no row that the publisher has no room for."""

    name = "outbox"
    every = 2.0
    parallel = 500
    leases = True
    settles_at_once = True

    def __init__(self, publisher: Publisher, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> None:
        self.waker = Waker()
        self._publisher = publisher
        publisher.on_room = self.waker.wake
        self._metrics = metrics
        self._log = log
        self._look_at = 0.0

    async def take(self, db: Connection, limit: int) -> Sequence[Outgoing]:
        """Lease rows whose lease ran out, as many as the publisher has room for."""
        await self._look(db)
        room = self._publisher.room(limit)
        if not room.rows:
            return []
        rows = await outbox.take(db, room.rows, room.without)
        if rows:
            self._log.info("outbox_left_over", rows=len(rows))
        return rows

    async def _look(self, db: Connection) -> None:
        """Count what lies in the outbox: not with every helping, and seldom if that takes long."""
        if (began := loop_seconds()) < self._look_at:
            return
        waiting, parked, oldest = await outbox.pending(db)
        self._metrics.outbox.labels("waiting").set(waiting)
        self._metrics.outbox.labels("parked").set(parked)
        self._metrics.outbox_oldest.set(oldest)
        self._look_at = max(began + LOOK_EVERY_SECONDS, loop_seconds() + (loop_seconds() - began) / LOOK_SHARE_MAX)

    async def act(self, item: Outgoing) -> Outgoing:
        """Hand a row to the publisher, which deletes it when the brokers hold it."""
        self._publisher.hand([item])
        return item

    async def settle(self, _db: Connection, _done: Sequence[Outgoing]) -> Settled[None]:
        """Nothing is left to store: the publisher owns the row, or gave it back."""
        return Settled()

    def committed(self, done: Sequence[None]) -> None:
        """Nothing is left to tell."""
