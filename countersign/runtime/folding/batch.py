"""A fetched batch on its way through a fold, and what is done when that fails."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from countersign.runtime.backoff import Backoff
from countersign.runtime.errors import Kind, OffContract, kind_of, reason_of
from countersign.runtime.folding.brake import Tally
from countersign.runtime.folding.dead_letter import DeadLetter, LetterReports
from countersign.runtime.folding.fold import Folded, absorb, rounds
from countersign.runtime.messages.repairs import RepairReports
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

TRIES = 3
# From here on planning a statement for the very batch costs less than a plan that fits others.
BULK_EVENTS_MIN = 10


class Stopping(Exception):  # noqa: N818 - a signal, not a failure
    """The process stops while a server is away: the batch is left to whoever reads it next."""


@dataclass(slots=True)
class Batch:
    """Records of one topic. `held` are partitions the brake caught: number -> (reason, first offset not folded)."""

    fold: AnyFold
    records: Sequence[Record]
    settled: set[tuple[int, int]] = field(default_factory=set)
    held: dict[int, tuple[str, int]] = field(default_factory=dict)

    def unfolded(self, partition: int) -> int:
        """Return the first offset of a partition that is not folded yet."""
        return min(
            record.offset
            for record in self.records
            if record.partition == partition and (record.partition, record.offset) not in self.settled
        )

    def is_folded(self, partition: int) -> bool:
        """Tell whether nothing of the partition is left."""
        return all(
            record.partition != partition or (record.partition, record.offset) in self.settled
            for record in self.records
        )


class Folder:
    """Folds batches on connections of its own: whole, else one by one, else into a dead letter."""

    def __init__(  # noqa: PLR0913 - what a folder needs is what the frame has
        self,
        *,
        link: Link,
        bulk: Link,
        publisher: Publisher,
        health: Health,
        metrics: Metrics,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._link = link
        self._bulk = bulk
        self._publisher = publisher
        self._health = health
        self._metrics = metrics
        self._checkpoint = checkpoint
        self._log = log
        self._tracer = tracer
        self._repairs = RepairReports(metrics.repaired, metrics.sources, log)
        self._letters = LetterReports(metrics, log)
        self._tallies: defaultdict[tuple[str, int], Tally] = defaultdict(Tally)
        self._stopping = False
        self.waiting_for_server = False

    def stop(self) -> None:
        """Wait for no server any more."""
        self._stopping = True

    def forgive(self, topic: str, partition: int) -> None:
        """Forget the failures of a partition: its brake was released."""
        self._tallies.pop((topic, partition), None)

    async def fold(self, batch: Batch) -> dict[int, tuple[str, int]]:
        """Fold a batch; return the partitions to hold, with the reason and the offset to go on from.

        Raises Stopping.
        """
        began = monotonic()
        events, dead = self._parse(batch)
        if not events and dead:
            await self._whole(batch, [], dead)
        for part in rounds(batch.fold, events):
            wanted = [incoming for incoming in part if incoming.record.partition not in batch.held]
            await self._whole(batch, wanted, dead)
            dead = []
        self._metrics.batch_seconds.labels(batch.fold.topic).observe(monotonic() - began)
        return batch.held

    async def bury(self, fold: AnyFold, letter: DeadLetter) -> None:
        """Keep a dead letter of a record that was never parsed. Raises Stopping."""
        self._settled(Batch(fold, ()), [], await self._absorb(fold, [], [letter]))

    def _parse(self, batch: Batch) -> tuple[list[Incoming[Any]], list[DeadLetter]]:
        events, dead = [], []
        for record in batch.records:
            try:
                incoming = batch.fold.parse(record)
            except OffContract as finding:
                dead.append(DeadLetter.of(record, finding))
                continue
            if incoming is None:
                batch.settled.add((record.partition, record.offset))
                self._metrics.records.labels(record.topic, "skipped").inc()
            else:
                self._repairs.report(incoming)
                events.append(self._tracer.continued(incoming))
        return events, dead

    async def _whole(self, batch: Batch, part: Sequence[Incoming[Any]], dead: Sequence[DeadLetter]) -> None:
        """Fold a round in one transaction. If a bug is in the way, fold it one by one."""
        try:
            folded = await self._absorb(batch.fold, part, dead)
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE or isinstance(error, Stopping) or not part:
                raise
            self._log.warning("batch_one_by_one", topic=batch.fold.topic, error=type(error).__name__)
            if dead:
                self._settled(batch, [], await self._absorb(batch.fold, [], dead))
            for incoming in part:
                await self._alone(batch, incoming, tried=0)
            return
        self._settled(batch, part, folded)
        for incoming, _ in folded.suspects:
            await self._alone(batch, incoming, tried=1)

    async def _alone(self, batch: Batch, incoming: Incoming[Any], tried: int) -> None:
        """Fold one record; after three failures it is a dead letter."""
        record = incoming.record
        if record.partition in batch.held:
            return
        error: Exception | None = None
        for _ in range(TRIES - tried):
            try:
                folded = await self._absorb(batch.fold, [incoming], [])
            except Exception as bug:
                if kind_of(bug) is Kind.INFRASTRUCTURE or isinstance(bug, Stopping):
                    raise
                error = bug
                continue
            if not folded.suspects:
                self._settled(batch, [incoming], folded)
                return
            error = folded.suspects[0][1]
        cause = f"a bug of ours: {type(error).__name__ if error else 'unknown'}"
        letter = DeadLetter(record, "bug", cause)
        self._log.error(
            "record_failed", topic=record.topic, partition=record.partition, offset=record.offset, exc_info=error
        )
        self._settled(batch, [], await self._absorb(batch.fold, [], [letter]))
        self._metrics.bugs.labels(record.topic).inc()
        reason = self._tallies[record.topic, record.partition].failed(record.key or b"")
        if reason is not None and not batch.is_folded(record.partition):
            batch.held[record.partition] = (reason, batch.unfolded(record.partition))
        elif reason is not None:
            batch.held[record.partition] = (reason, record.offset + 1)

    async def _absorb(self, fold: AnyFold, part: Sequence[Incoming[Any]], dead: Sequence[DeadLetter]) -> Folded[Any]:
        """Fold in one transaction, waiting in place for a server that is away. Raises Stopping."""
        backoff, work = Backoff(), self._tracer.folding(fold)
        link = self._link if len(part) < BULK_EVENTS_MIN else self._bulk
        while True:
            try:
                async with link.use() as db:
                    folded = await absorb(db, fold, part, dead=dead, checkpoint=self._checkpoint, work=work)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                if self._stopping:
                    raise Stopping from error
                self.waiting_for_server = True
                self._health.tell("postgres.folds", reason_of(error))
                self._log.warning("fold_waits", topic=fold.topic, error=type(error).__name__)
                await asyncio.sleep(backoff.next())
                continue
            if self.waiting_for_server:
                self.waiting_for_server = False
                self._health.tell("postgres.folds", None)
            self._publisher.hand(folded.due)
            return folded

    def _settled(self, batch: Batch, part: Sequence[Incoming[Any]], folded: Folded[Any]) -> None:
        suspects = {id(incoming) for incoming, _ in folded.suspects}
        topic = batch.fold.topic
        self._metrics.records.labels(topic, "aged").inc(folded.aged)
        well: defaultdict[int, int] = defaultdict(int)
        lost = {(letter.record.partition, letter.record.offset) for letter in folded.dead}
        for incoming in part:
            if id(incoming) not in suspects:
                place = (incoming.record.partition, incoming.record.offset)
                batch.settled.add(place)
                well[place[0]] += place not in lost
        batch.settled |= lost
        self._metrics.records.labels(topic, "folded").inc(sum(well.values()))
        for partition, count in well.items():
            self._tallies[topic, partition].folded(count)
        for letter in folded.dead:
            self._metrics.records.labels(topic, "dead").inc()
            self._letters.report(letter)
