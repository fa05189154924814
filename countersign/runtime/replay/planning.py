"""Makes a plan: every chosen record is folded by today's code in a transaction that is rolled back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from countersign.runtime.backoff import Backoff
from countersign.runtime.errors import Kind, OffContractError, kind_of
from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.replay.plan import Found, Range
from countersign.runtime.replay.reading import BATCH_RECORDS_MAX, Choice, age_at, ranges_of, read, type_of
from countersign.runtime.replay.trial import Trial, require_counts, try_batch, unknown_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.replay.plan import Asked
    from countersign.runtime.replay.reading import Chunk
    from countersign.runtime.settings import KafkaSettings

T = TypeVar("T")

NAMES_MAX = 50  # chosen: a plan can be read, and a topic full of nonsense does not fill the memory
TRIES_MAX = 8  # of a batch, with growing pauses: about half a minute in which PostgreSQL is away, or a lock is not free


@dataclass(slots=True)
class _Sum:
    read: int = 0
    chosen: int = 0
    unused: int = 0
    stale: int = 0
    dead_letters: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    by_partition: Counter[int] = field(default_factory=Counter)
    unfoldable: Counter[str] = field(default_factory=Counter)
    trial: Trial = field(default_factory=Trial)

    def note(self, chunk: Chunk, chosen: Sequence[Record], unused: int) -> None:
        self.read += len(chunk.records) + len(chunk.untakeable)
        self.chosen += len(chosen)
        self.unused += unused
        for record in chosen:
            _count(self.by_type, type_of(record))
        self.by_partition.update(record.partition for record in chosen)


def _count(counter: Counter[str], name: str) -> None:
    """Count under a name that a producer may have chosen: there are only so many."""
    counter[name if name in counter or len(counter) < NAMES_MAX else "others"] += 1


async def find(
    settings: KafkaSettings, link: Link, fold: AnyFold, asked: Asked, tell: Callable[[int, int], None]
) -> tuple[list[Range], Found, datetime]:
    """Return the ranges, what folding the chosen records again would do, and the database's now. Nothing is changed.

    `tell` is called with the number of offsets read and to be read. Raises PlanError, KafkaError, and an infrastructure
    error of PostgreSQL that lasts.
    """
    ranges = await ranges_of(settings, asked)
    async with link.use() as db:
        await require_counts(db)
        now: datetime = await db.fetchval("SELECT now()")
    found, choice = _Sum(), Choice(asked)
    reached, wanted = {one.partition: one.first for one in ranges}, sum(one.end - one.first for one in ranges)
    async with aclosing(read(settings, asked.topic, ranges, BATCH_RECORDS_MAX)) as chunks:
        async for chunk in chunks:
            chosen = choice.chosen_of(chunk)
            events, dead = parsed(fold, chosen)
            found.note(chunk, chosen, len(chosen) - len(events) - len(dead))
            if fold.stale_after is not None:
                found.stale += sum(age_at(one.record, now) > fold.stale_after for one in events)
            await _try(link, fold, events, [*dead, *choice.untakeable_of(chunk)], found)
            reached |= chunk.reached
            tell(sum(reached[one.partition] - one.first for one in ranges), wanted)
    counted = [one.model_copy(update={"records": found.by_partition[one.partition]}) for one in ranges]
    return counted, _found(found), now


def parsed(fold: AnyFold, records: Sequence[Record]) -> tuple[list[Incoming[Any]], list[DeadLetter]]:
    """Return the events that the fold uses, and records that it cannot read."""
    events: list[Incoming[Any]] = []
    dead: list[DeadLetter] = []
    for record in records:
        try:
            incoming = fold.parse(record)
        except OffContractError as finding:
            dead.append(DeadLetter.of(record, finding))
            continue
        if incoming is not None:
            events.append(incoming)
    return events, dead


async def patiently(link: Link, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do work on the link's connection, again if the server was away or a lock was not free. Raises what lasts."""
    backoff = Backoff()
    for tried in range(1, TRIES_MAX + 1):
        try:
            async with link.use() as db:
                return await work(db)
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE or tried == TRIES_MAX:
                raise
        await asyncio.sleep(backoff.next())
    raise AssertionError("the last try returns or raises")


async def _try(
    link: Link, fold: AnyFold, events: Sequence[Incoming[Any]], dead: Sequence[DeadLetter], found: _Sum
) -> None:
    async def work(db: Connection) -> tuple[Trial, list[DeadLetter]]:
        transaction = db.transaction()
        await transaction.start()
        try:
            trial = await try_batch(db, fold, events)
            trial.dead += dead
            return trial, await unknown_of(db, fold.topic, trial.dead)
        finally:
            await transaction.rollback()

    trial, unknown = await patiently(link, work)
    for letter in unknown:
        _count(found.unfoldable, letter.cause)
    found.dead_letters += len(trial.dead) - len(unknown)
    total = found.trial
    total.without_effect += trial.without_effect
    total.aged += trial.aged
    total.effects += trial.effects
    total.changes += trial.changes
    total.publishes += trial.publishes
    total.forbidden += trial.forbidden


def _found(found: _Sum) -> Found:
    trial = found.trial
    return Found(
        read=found.read,
        chosen=found.chosen,
        by_type=dict(found.by_type),
        unused=found.unused,
        aged=trial.aged,
        stale=found.stale,
        without_effect=trial.without_effect,
        dead_letters=found.dead_letters,
        unfoldable=dict(found.unfoldable),
        effects=dict(trial.effects),
        forbidden=dict(Counter(effect.name for effect, _ in trial.forbidden)),
        changes=dict(trial.changes),
        publishes=dict(trial.publishes),
    )
