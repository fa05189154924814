"""Runs a plan: each batch is folded, held against what was planned, and committed with how far the replay has come.

Nothing is published and nobody is woken here. What a planned effect owes to Kafka lies in the outbox, and the running
service publishes it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING, Any

from countersign.runtime.replay import journal as journals
from countersign.runtime.replay.plan import PlanError, Range, exceeded
from countersign.runtime.replay.planning import parsed, patiently
from countersign.runtime.replay.reading import BATCH_RECORDS_MAX, Choice, read, require_present
from countersign.runtime.replay.trial import require_counts, try_batch, unknown_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.folding.dead_letter import DeadLetter
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Incoming
    from countersign.runtime.replay.journal import Journal
    from countersign.runtime.replay.reading import Chunk
    from countersign.runtime.replay.trial import Trial
    from countersign.runtime.settings import KafkaSettings

BATCHES_A_SECOND_MIN = 4  # at a low rate batches are small, so that it is even


class StoppedError(Exception):
    """A batch that would have done more than was planned: it was rolled back. The words say where and what."""


class _InterruptedError(Exception):
    """The replay is not to go on."""


class Replayer:
    """Runs one replay in this process. `fingerprints` are the hashes of code and configuration as they are now."""

    def __init__(
        self,
        replay_id: UUID,
        folds: Mapping[str, AnyFold],
        link: Link,
        settings: KafkaSettings,
        *,
        fingerprints: tuple[str, str],
        tell: Callable[[Journal], None],
        checkpoint: Checkpoint,
    ) -> None:
        self._replay_id = replay_id
        self._folds = folds
        self._link = link
        self._settings = settings
        self._fingerprints = fingerprints
        self._tell = tell
        self._checkpoint = checkpoint
        self._backend: int | None = None
        self._stopping = asyncio.Event()
        self._allowed: Mapping[str, int] = {}

    def pause(self) -> None:
        """Pause after the batch in hand."""
        self._stopping.set()

    async def run(self) -> Journal:
        """Go on from where the replay is, and return it as it is when this ends: its `state` says how.

        Raises PlanError if it cannot be run, KafkaError, and an infrastructure error of PostgreSQL that lasts: the
        replay can then be resumed.
        """
        journal = await patiently(self._link, self._begin)
        try:
            await require_present(self._settings, journal.plan.asked.topic, _left(journal))
            await self._replay(journal)
        except StoppedError as stop:
            await self._end(journal, "stopped", str(stop))
        except PlanError as reason:
            await self._end(journal, "stopped", str(reason))
            raise
        except _InterruptedError:
            journal.state = (await patiently(self._link, lambda db: journals.find(db, self._replay_id))).state
        else:
            await self._end(journal, "paused" if _left(journal) else "done", None)
        self._tell(journal)
        return journal

    async def _begin(self, db: Connection) -> Journal:
        await require_counts(db)
        await self._lock(db)
        journal = await journals.find(db, self._replay_id)  # after the lock: nobody moves it on from here
        if journal.state != "running":
            raise PlanError(f"the replay is {journal.state}: resume it first")
        plan = journal.plan
        try:
            plan.require_harmless()
            plan.require_fresh(await db.fetchval("SELECT now()"))
            plan.require_current(*self._fingerprints)
            self._require_read(plan.asked.topic)
        except PlanError as reason:
            await journals.end(db, journal, "stopped", str(reason))
            raise
        self._allowed = plan.found.allowance()
        return journal

    def _require_read(self, topic: str) -> None:
        if topic not in self._folds:
            raise PlanError(f"this service does not read {topic}")

    async def _lock(self, db: Connection) -> None:
        """Have the lock on this connection: one that was lost with its connection may be another's by now."""
        backend = db.get_server_pid()
        if backend == self._backend:
            return
        if not await journals.lock(db, self._replay_id):
            if self._backend is not None:  # the server may still hold our own lost session: tried again for a while
                raise ConnectionError("the replay's lock is not free yet")
            raise PlanError("another process runs this replay")
        self._backend = backend

    async def _replay(self, journal: Journal) -> None:
        asked = journal.plan.asked
        choice, fold = Choice(asked), self._folds[asked.topic]
        most = max(1, min(BATCH_RECORDS_MAX, int(journal.rate / BATCHES_A_SECOND_MIN)))
        due_at = monotonic()
        async with aclosing(read(self._settings, asked.topic, _left(journal), most)) as chunks:
            async for chunk in chunks:
                if self._stopping.is_set():
                    return
                chosen = choice.chosen_of(chunk)
                events, dead = parsed(fold, chosen)
                await self._checkpoint("replay.fetched")
                dead += choice.untakeable_of(chunk)
                counts = Counter(record.partition for record in chosen)
                await patiently(self._link, _Batch(self, journal, fold, events, dead, chunk, counts).commit)
                self._tell(journal)
                await self._checkpoint("replay.committed")
                due_at = max(due_at + len(chosen) / journal.rate, monotonic() - 1)
                await self._wait_until(due_at)

    async def _wait_until(self, due_at: float) -> None:
        seconds = due_at - monotonic()
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()
            except TimeoutError:
                pass

    async def _end(self, journal: Journal, state: str, cause: str | None) -> None:
        journal.state, journal.cause = state, cause
        await patiently(self._link, lambda db: journals.end(db, journal, state, cause))

    async def hold(self, db: Connection) -> None:
        """Make sure, in a batch's transaction, that the replay is this process's and is to go on."""
        await self._lock(db)
        if not await journals.is_running(db, self._replay_id):
            raise _InterruptedError

    def judge(self, done: Counter[str], trial: Trial, unknown: Sequence[DeadLetter]) -> Counter[str]:
        """Return all that was done with this batch. Raises StoppedError if that is more than was planned."""
        for effect, record in trial.forbidden:
            place = f"{record.topic} partition {record.partition} offset {record.offset}"
            raise StoppedError(
                f"{place} would lead to {effect.name}, which a replay never causes. Nothing of it was saved"
            )
        total = Counter(done)
        total.update({f"effect {name}": count for name, count in trial.effects.items()})
        total.update({f"row of {name}": count for name, count in trial.changes.items()})
        total.update({f"event {name}": count for name, count in trial.publishes.items()})
        total.update({"unfoldable record": len(unknown)} if unknown else {})
        beyond = exceeded(total, self._allowed)
        if beyond is not None:
            cause = f" ({unknown[0].cause})" if unknown and beyond.startswith("unfoldable") else ""
            raise StoppedError(f"more than was planned: {beyond}{cause}. Nothing of the batch was saved")
        return total


class _Batch:
    """One batch: folded, judged and committed, or not at all."""

    def __init__(
        self,
        replayer: Replayer,
        journal: Journal,
        fold: AnyFold,
        events: Sequence[Incoming[Any]],
        dead: Sequence[DeadLetter],
        chunk: Chunk,
        counts: Mapping[int, int],
    ) -> None:
        self._replayer = replayer
        self._journal = journal
        self._fold = fold
        self._events = events
        self._dead = dead
        self._chunk = chunk
        self._counts = counts

    async def commit(self, db: Connection) -> None:
        journal = self._journal
        async with db.transaction():
            await self._replayer.hold(db)
            trial = await try_batch(db, self._fold, self._events)
            unknown = await unknown_of(db, self._fold.topic, [*trial.dead, *self._dead])
            done = self._replayer.judge(journal.done, trial, unknown)
            await journals.advance(db, journal, self._chunk.reached, self._counts)
            if done != journal.done:
                await journals.count(db, journal, done)
        journal.done = done
        journal.records += sum(self._counts.values())
        for number, reached in self._chunk.reached.items():
            journal.places[number] = (reached, journal.places[number][1])


def _left(journal: Journal) -> list[Range]:
    return [
        Range(partition=number, first=first, end=end)
        for number, (first, end) in sorted(journal.places.items())
        if first < end
    ]
