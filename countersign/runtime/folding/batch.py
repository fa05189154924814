"""A fetched batch on its way through a fold, and what is done when that fails."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from countersign.clock import loop_seconds
from countersign.runtime.errors import Kind, OffContractError, kind_of
from countersign.runtime.folding.brake import Tally
from countersign.runtime.folding.dead_letter import DeadLetter, LetterReports
from countersign.runtime.folding.fold import in_rounds
from countersign.runtime.folding.sizes import TooLongError
from countersign.runtime.folding.transactions import StoppingError, Transactions
from countersign.runtime.folding.whole_letters import NoRoomError
from countersign.runtime.messages.repairs import RepairReports
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.fold import AnyFold, Folded
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

TRIES = 3


@dataclass(slots=True)
class Batch:
    """Records of one topic. `held` are partitions the brake caught: number -> (reason, first offset not folded).

    `refused` are letters of records that nobody is to read: these are among `records`, too.
    """

    fold: AnyFold
    records: Sequence[Record]
    refused: Sequence[DeadLetter] = ()
    settled: set[tuple[int, int]] = field(default_factory=set)
    held: dict[int, tuple[str, int]] = field(default_factory=dict)

    def unfolded(self, partition: int) -> int | None:
        """Return the first offset of a partition that is not folded yet, None if nothing of it is left."""
        left = [
            record.offset
            for record in self.records
            if record.partition == partition and (record.partition, record.offset) not in self.settled
        ]
        return min(left, default=None)


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
        self._transactions = Transactions(link, bulk, publisher, health, checkpoint, log, tracer)
        self._metrics = metrics
        self._log = log
        self._tracer = tracer
        self._repairs = RepairReports(metrics.repaired, metrics.sources, log)
        self._letters = LetterReports(metrics, log)
        self._tallies: defaultdict[tuple[str, int], Tally] = defaultdict(Tally)
        self._settled_at: dict[tuple[str, int], float] = {}

    def stop(self) -> None:
        """Wait for no server any more."""
        self._transactions.stop()

    @property
    def waiting_for_server(self) -> bool:
        """Whether nothing is folded because PostgreSQL is waited for."""
        return self._transactions.waiting_for_server

    def forgive(self, topic: str, partition: int) -> None:
        """Forget the failures of a partition: its brake was released."""
        self._tallies.pop((topic, partition), None)

    def settled_at(self, topic: str, partition: int) -> float:
        """Return when, by the event loop's clock, a part of a batch with records of this partition was committed."""
        return self._settled_at.get((topic, partition), 0.0)

    async def fold(self, batch: Batch) -> dict[int, tuple[str, int]]:
        """Fold a batch; return the partitions to hold, with the reason and the offset to go on from.

        Raises StoppingError.
        """
        began = monotonic()
        events, dead, suspects = self._parse(batch)
        if not events and dead:
            await self._whole(batch, [], dead)
        for part in in_rounds(events):
            await self._in_parts(batch, part, dead)
            dead = []
        for record, error in suspects:
            await self._alone(batch, record, error)
        self._metrics.batch_seconds.labels(batch.fold.topic).observe(monotonic() - began)
        return batch.held

    async def dead_letter_unparsed(self, fold: AnyFold, letter: DeadLetter) -> None:
        """Keep a dead letter of a record that was never parsed. Raises StoppingError."""
        await self._keep(Batch(fold, (letter.record,)), letter)

    def _parse(
        self, batch: Batch
    ) -> tuple[list[tuple[Incoming[Any], tuple[Hashable, ...]]], list[DeadLetter], list[tuple[Record, Exception]]]:
        """Return events with their keys, letters, and records at which our own code failed."""
        events, dead, suspects = [], list(batch.refused), []
        refused = {(letter.record.partition, letter.record.offset) for letter in batch.refused}
        for record in batch.records:
            if (record.partition, record.offset) in refused:
                continue
            try:
                incoming = self._parsed(batch, record)
                if isinstance(incoming, DeadLetter):
                    dead.append(incoming)
                elif incoming is not None:
                    events.append((incoming, batch.fold.keys(incoming)))
                    self._repairs.report(incoming)
            except Exception as error:  # noqa: BLE001 - neither asks a server: whatever it is, it is about this record
                suspects.append((record, error))
        return events, dead, suspects

    def _parsed(self, batch: Batch, record: Record) -> Incoming[Any] | DeadLetter | None:
        """Return the event, its letter if it is off the contract, or None for a type of no use here."""
        try:
            incoming = batch.fold.parse(record)
        except OffContractError as finding:
            return DeadLetter.of(record, finding)
        if incoming is None:
            batch.settled.add((record.partition, record.offset))
            self._metrics.records.labels(record.topic, "skipped").inc()
            return None
        return self._tracer.continued(incoming)

    async def _in_parts(self, batch: Batch, events: Sequence[Incoming[Any]], dead: Sequence[DeadLetter]) -> None:
        """Fold a round in transactions of as many events as fit."""
        left = list(events)
        while left:
            most = self._transactions.sizes.most(batch.fold.topic)
            await self._whole(batch, left[:most], dead)
            left, dead = left[most:], []

    async def _whole(self, batch: Batch, events: Sequence[Incoming[Any]], dead: Sequence[DeadLetter]) -> None:
        """Fold events in one transaction: in several if that takes too long, one by one if a bug is in the way."""
        part = [incoming for incoming in events if incoming.record.partition not in batch.held]
        try:
            folded = await self._transactions.absorb(batch.fold, part, dead)
        except Exception as error:
            if isinstance(error, StoppingError) or (
                kind_of(error) is Kind.INFRASTRUCTURE and not isinstance(error, TooLongError)
            ):
                raise
            for letter in dead:
                await self._keep(batch, letter)
            if isinstance(error, TooLongError) and len(part) > 1:
                self._log.warning("batch_halved", topic=batch.fold.topic, events=len(part))
                self._transactions.sizes.took_too_long(batch.fold.topic, len(part))
                await self._in_parts(batch, part, [])
                return
            self._log.warning("batch_one_by_one", topic=batch.fold.topic, error=type(error).__name__)
            for incoming in part:
                await self._alone(batch, incoming.record)
            return
        self._settled(batch, part, folded)
        for incoming, failed in folded.suspects:
            await self._alone(batch, incoming.record, failed)

    async def _alone(self, batch: Batch, record: Record, failed: Exception | None = None) -> None:
        """Take one record all its way; after three failures, of which one may be known, it is a dead letter."""
        if record.partition in batch.held:
            return
        error, tries = failed, 0 if failed is None else 1
        while tries < TRIES:
            try:
                found = await self._once(batch, record)
            except TooLongError as slow:
                if await self._transactions.answers():  # else it was the server, and the record is tried again
                    error, tries = slow, tries + 1
                continue
            except NoRoomError as full:
                self._hold(batch, record, str(full))
                return
            except Exception as bug:
                if kind_of(bug) is Kind.INFRASTRUCTURE or isinstance(bug, StoppingError):
                    raise
                error, tries = bug, tries + 1
                continue
            if found is None:
                return
            error, tries = found, tries + 1
        await self._give_up(batch, record, error)

    async def _once(self, batch: Batch, record: Record) -> Exception | None:
        """Parse and fold one record; return the bug that `decide` met, None if the record is settled."""
        incoming = self._parsed(batch, record)
        if isinstance(incoming, DeadLetter):
            await self._keep(batch, incoming)
        elif incoming is not None:
            batch.fold.keys(incoming)
            folded = await self._transactions.absorb(batch.fold, [incoming], [])
            if folded.suspects:
                return folded.suspects[0][1]
            self._settled(batch, [incoming], folded)
        return None

    async def _give_up(self, batch: Batch, record: Record, error: Exception | None) -> None:
        """Keep a dead letter of a record at which our own code fails, and brake if there are too many."""
        is_slow = isinstance(error, TooLongError)
        why = str(error) if is_slow else type(error).__name__
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        self._log.error("record_failed", **place, exc_info=error)
        await self._keep(batch, DeadLetter(record, "bug", f"a bug of ours: {why}"))
        self._metrics.bugs.labels(record.topic).inc()
        reason = self._tallies[record.topic, record.partition].failed(record.key or b"")
        if reason is not None:
            self._hold(batch, record, reason)

    def _hold(self, batch: Batch, record: Record, reason: str) -> None:
        """Brake the partition of a record at the first record that is not folded."""
        first = batch.unfolded(record.partition)
        batch.held[record.partition] = (reason, record.offset + 1 if first is None else first)

    async def _keep(self, batch: Batch, letter: DeadLetter) -> None:
        """Keep a letter alone; without the record's content if that cannot be stored."""
        try:
            folded = await self._transactions.absorb(batch.fold, [], [letter])
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE or isinstance(error, StoppingError):
                raise
            self._log.exception("dead_letter_without_content", topic=letter.record.topic, offset=letter.record.offset)
            folded = await self._transactions.absorb(batch.fold, [], [letter.without_content()])
        self._settled(batch, [], folded)

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
        now = loop_seconds()
        self._settled_at.update(dict.fromkeys(((topic, record.partition) for record in batch.records), now))
        for partition, count in well.items():
            self._tallies[topic, partition].folded(count)
        for letter in folded.dead:
            self._metrics.records.labels(topic, "dead").inc()
            self._letters.report(letter)
