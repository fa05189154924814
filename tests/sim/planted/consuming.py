"""Faults that consuming and folding once had, put back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from countersign.runtime.broker.closing import stop_clients
from countersign.runtime.consuming import consumer as consuming
from countersign.runtime.consuming.brakes import Brakes, _Hold
from countersign.runtime.consuming.fetching import FETCH_CAREFULLY_MS, Fetching, letter_of
from countersign.runtime.consuming.unpacking import Odd
from countersign.runtime.folding import brake, dead_letter, fold
from countersign.runtime.folding.batch import Batch, Folder
from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.folding.redrive import Redrives

if TYPE_CHECKING:
    from aiokafka import TopicPartition


def guard_less() -> None:
    """What parse and keys raise ends the process."""

    def faulty(self: Folder, batch: Batch) -> Any:
        events, dead = [], list(batch.refused)
        refused = {(letter.record.partition, letter.record.offset) for letter in batch.refused}
        for record in batch.records:
            if (record.partition, record.offset) in refused:
                continue
            incoming = self._parsed(batch, record)
            if isinstance(incoming, DeadLetter):
                dead.append(incoming)
            elif incoming is not None:
                events.append((incoming, batch.fold.keys(incoming)))
        return events, dead, []

    Folder._parse = faulty  # type: ignore[method-assign]


def race_brakes() -> None:
    """A release that asked before a partition was held lets it go afterwards, and it stays paused."""

    async def hold(self: Brakes, consumer: Any, partition: TopicPartition, reason: str, offset: int) -> None:
        self._held[partition] = _Hold(reason, is_kept=True)
        await self._patiently(lambda db: brake.hold(db, partition.topic, partition.partition, reason))
        self.rewind(consumer, partition, offset)

    async def release(self: Brakes, consumer: Any) -> None:
        if not self._held:
            return
        async with self._link.use() as db:
            rows = await brake.held(db, self._topics)
        for partition in [one for one in self._held if (one.topic, one.partition) not in rows]:
            self._let_go(consumer, partition)

    Brakes.hold = hold  # type: ignore[method-assign]
    Brakes.release = release  # type: ignore[method-assign]


def watch_blindly() -> None:
    """The watchdog does not know that brakes wait for PostgreSQL."""
    consuming.Worker.waiting_for_server = property(  # type: ignore[method-assign, assignment]
        lambda self: self._folder.waiting_for_server
    )


def settle_aged() -> None:
    """A redriven letter older than 40 days is skipped as a record is, and settled as done."""

    async def settle(db: Any, item: Any, folded: Any) -> None:
        if folded.suspects:
            raise folded.suspects[0][1]
        await dead_letter.settle(db, item, folded.dead)

    _fold_letters_with(settle)


def settle_suspects() -> None:
    """A letter at which decide failed is done for a moment; a second transaction puts it back."""

    async def settle(db: Any, item: Any, folded: Any) -> None:
        await dead_letter.settle(db, item, folded.dead, too_old=folded.aged > 0)

    _fold_letters_with(settle)


def _fold_letters_with(settle: Any) -> None:
    async def faulty(self: Redrives, item: Any) -> None:
        incoming = self._folds[item.record.topic].parse(item.record)

        async def also(db: Any, folded: Any) -> None:
            await settle(db, item, folded)

        async with self._link.use() as db:
            folded = await fold.absorb(db, self._folds[item.record.topic], [incoming], also=also)
        self._publisher.hand(folded.due)
        if folded.suspects:
            raise folded.suspects[0][1]

    Redrives._fold = faulty  # type: ignore[method-assign]


def pass_over_positions() -> None:
    """An unreadable record is passed over at the position, which lies before it where compaction left a gap."""

    async def faulty(self: Fetching, consumer: Any) -> Any:
        got: dict[TopicPartition, list[Any]] = {}
        letters = []
        readable = consumer.assignment() - consumer.paused()
        if not readable:
            await asyncio.sleep(FETCH_CAREFULLY_MS / 1000)
        for partition in readable:
            messages = got[partition] = []
            found = {}
            while len(messages) < self._records_max:
                with suppress(UnicodeDecodeError):
                    found = await consumer.getmany(partition, timeout_ms=FETCH_CAREFULLY_MS, max_records=1)
                    if not found:
                        break
                    messages += found[partition]
                    continue
                letters.append(letter_of(partition, Odd(await consumer.position(partition), 0)))
                break
        return {partition: messages for partition, messages in got.items() if messages}, letters

    Fetching._fetch_carefully = faulty  # type: ignore[method-assign]


def leave_consumers() -> None:
    """A consumer whose stop takes too long is left with its task and its connections."""

    async def faulty(consumer: Any) -> None:
        await stop_clients(consumer.stop)

    consuming.close_consumer = faulty  # type: ignore[assignment]
