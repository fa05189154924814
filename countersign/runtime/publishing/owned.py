"""The outbox rows that this process owns: until when, and what has to be written about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.clock import loop_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from uuid import UUID

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import OutboxRows

WRITTEN_AT_ONCE_MAX = 2_000


class Owned:
    """Rows under a lease of this process, by event id.

    A row is owned from its hand-over until it is deleted, parked or given back. Each has the time at which its lease
    ends, by the event loop's clock and never later than the database's. A row whose lease has ended may be another
    process's: it is not sent. What is to be written is collected and written together, by `write` and `renew`; both
    raise what the database raises and keep what they could not write.
    """

    def __init__(self, rows: OutboxRows, lease_seconds: float) -> None:
        self._rows = rows
        self._lease_seconds = lease_seconds
        self._until: dict[UUID, float] = {}
        self._lapsed: set[UUID] = set()
        self._done: list[UUID] = []
        self._refused: dict[UUID, tuple[Outgoing, str]] = {}
        self._given_back: dict[UUID, tuple[float, int | None]] = {}
        self.on_parked: Callable[[Outgoing, str], None] = lambda _row, _reason: None

    def __len__(self) -> int:
        return len(self._until)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._until

    def own(self, event_id: UUID) -> None:
        """Own a row whose lease has just begun."""
        self._until[event_id] = loop_seconds() + self._lease_seconds
        self._lapsed.discard(event_id)
        self._given_back.pop(event_id, None)

    def may_send(self, event_id: UUID) -> bool:
        """Return True if the lease holds and always did; otherwise the row is not owned any longer."""
        if self._until.get(event_id, 0.0) > loop_seconds() and event_id not in self._lapsed:
            return True
        self._drop(event_id)
        return False

    def done(self, event_id: UUID) -> None:
        """Delete the row with the next `write`: the brokers hold its record."""
        self._done.append(event_id)

    def refuse(self, row: Outgoing, reason: str) -> None:
        """Park the row with the next `write`: no retry helps."""
        self._refused[row.event_id] = (row, reason)

    def give_back(self, event_id: UUID, partition: int | None = None) -> None:
        """End the lease with the next `write`, so that a sweeper takes the row later, here or elsewhere.

        `partition` is where the row belongs, if that is known: a sweeper leaves it while that one is in trouble.
        """
        self._given_back[event_id] = (self._until.pop(event_id, loop_seconds() + self._lease_seconds), partition)

    def give_all_back(self) -> None:
        """Give back everything that is neither published nor refused: nobody here works on it any more."""
        for event_id in self._until.keys() - set(self._done) - self._refused.keys():
            self.give_back(event_id)

    @property
    def to_write(self) -> bool:
        """Whether `write` has anything to do."""
        return bool(self._done or self._refused or self._given_back)

    async def write(self) -> bool:
        """Delete, park and give back. Return True if rows were deleted."""
        done, self._done = self._done, []
        try:
            for part in _parts(done):
                await self._rows.forget(part)
        except BaseException:
            self._done = done + self._done
            raise
        for event_id in done:
            self._drop(event_id)
        for event_id, (row, reason) in list(self._refused.items()):
            await self._rows.park(event_id, reason)
            self._refused.pop(event_id, None)
            self._drop(event_id)
            self.on_parked(row, reason)
        partitions = self._to_give_back()
        for part in _parts(partitions):
            await self._rows.give_back(part, [partitions[event_id] for event_id in part])
            for event_id in part:
                self._given_back.pop(event_id, None)
        still = self._to_give_back()
        self._given_back = {event_id: at for event_id, at in self._given_back.items() if event_id in still}
        return bool(done)

    async def renew(self) -> None:
        """Extend the leases of which half is over. A row that is gone or parked by now is not owned any longer."""
        half = loop_seconds() + self._lease_seconds / 2
        for part in _parts([event_id for event_id, until in self._until.items() if until < half]):
            asked_at = loop_seconds()
            found = await self._rows.extend(part)
            answered_at = loop_seconds()
            for event_id in part:
                if event_id not in found:
                    self._drop(event_id)
                elif (until := self._until.get(event_id)) is not None:
                    # An answer after the end of the lease proves nothing: another process may have had the row between.
                    if answered_at >= until:
                        self._lapsed.add(event_id)
                    self._until[event_id] = asked_at + self._lease_seconds

    def _to_give_back(self) -> dict[UUID, int | None]:
        """Return the rows whose lease has not ended by itself yet, with their partitions."""
        now = loop_seconds()
        return {event_id: partition for event_id, (until, partition) in self._given_back.items() if until > now}

    def _drop(self, event_id: UUID) -> None:
        self._until.pop(event_id, None)
        self._lapsed.discard(event_id)


def _parts(event_ids: Collection[UUID]) -> list[Sequence[UUID]]:
    every = list(event_ids)
    return [every[start : start + WRITTEN_AT_ONCE_MAX] for start in range(0, len(every), WRITTEN_AT_ONCE_MAX)]
