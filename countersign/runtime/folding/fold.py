"""A worker is a fold: load -> decide -> save, a batch at a time, whole or not at all."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from countersign.runtime.checkpoint import nothing
from countersign.runtime.errors import KeyUnknownError, Kind, OffContractError, kind_of
from countersign.runtime.folding import dead_letter
from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.publishing.outbox import NOTHING
from countersign.runtime.retention import KEYS_KEPT
from countersign.runtime.tracing.tracer import NO_FOLD_WORK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence
    from datetime import datetime, timedelta

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.effect import Effect
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from countersign.runtime.tracing.tracer import FoldWork

E = TypeVar("E")
S = TypeVar("S")
O = TypeVar("O")  # noqa: E741 - event, state, outcome

AT_ONCE = 0
PATIENTLY = 150  # of a fold that nobody waits for, in milliseconds


class Fold(Protocol[E, S, O]):
    """What a service is, apart from its plumbing: one topic, and what its events do to the service's state.

    `dedupes_by_key`: the fold knows an event again by its natural key, for 40 days; older records are skipped. A fold
    that goes by versions reads everything.

    `stale_after`: how old an event is that leads to nothing any more, or to a denial; None: its age does not matter.

    `delay_ms_max`: how long an event may lie until it is read together with others; 0 where somebody waits for it.
    Folds with the same figure share a consumer: a lane.
    """

    topic: str
    dedupes_by_key: bool
    delay_ms_max: int

    @property
    def stale_after(self) -> timedelta | None:
        """Return the age."""
        ...

    def parse(self, record: Record) -> Incoming[E] | None:
        """Return the event, or None for a listed type that is of no use here. Raises OffContractError."""
        ...

    def keys(self, incoming: Incoming[E]) -> tuple[Hashable, ...]:
        """Return the keys of the state that the event touches; a round of a batch holds each once."""
        ...

    def saves_at_once(self, events: Sequence[Incoming[E]]) -> bool:
        """Return True if load takes no lock and save is a single statement, so that no transaction is needed.

        Otherwise load and save share a transaction, which costs three more round trips.
        """
        ...

    async def load(self, db: Connection, events: Sequence[Incoming[E]]) -> tuple[S, datetime]:
        """Return what `decide` needs for all of them, and the database's now, in a fixed number of statements."""
        ...

    def decide(self, incoming: Incoming[E], state: S, now: datetime) -> O | None:
        """Return what follows; pure. Raises OffContractError for what cannot be, KeyUnknownError for a key to come."""
        ...

    async def save(self, db: Connection, outcomes: Sequence[O], now: datetime) -> Kept:
        """Store what is new under its natural key and keep what it owes to Kafka, from RETURNING alone."""
        ...

    def effect(self, outcome: O) -> Effect:
        """Say what an outcome leads to, here and in services further on; a replay plans by it."""
        ...

    def committed(self, outcomes: Sequence[O]) -> None:
        """Wake whoever waits for these outcomes: the transaction is committed."""
        ...


def always(_events: Sequence[Incoming[Any]]) -> bool:
    """Tell that a fold saves every batch at once."""
    return True


def never(_events: Sequence[Incoming[Any]]) -> bool:
    """Tell that a fold needs a transaction from load to save, whatever the batch."""
    return False


AnyFold = Fold[Any, Any, Any]


@dataclass(slots=True)
class Folded(Generic[E]):
    """What one transaction came to. `suspects` raised in decide and were left out of it."""

    due: Kept = NOTHING
    dead: list[DeadLetter] = field(default_factory=list)
    suspects: list[tuple[Incoming[E], Exception]] = field(default_factory=list)
    aged: int = 0


async def absorb(
    db: Connection,
    fold: Fold[E, S, O],
    batch: Sequence[Incoming[E]],
    *,
    dead: Sequence[DeadLetter] = (),
    also: Callable[[Connection, Folded[E]], Awaitable[None]] | None = None,
    checkpoint: Checkpoint = nothing,
    work: FoldWork = NO_FOLD_WORK,
) -> Folded[E]:
    """Fold one batch into the database, whole or not at all.

    `dead` are letters met while parsing: they commit with the batch. `also` is run in the same transaction instead of
    keeping letters (a redrive settles its letters where they are); if it raises, nothing is folded.
    """
    folded: Folded[E] = Folded(dead=list(dead))
    outcomes: list[O] = []
    async with AsyncExitStack() as held:
        if batch:
            if not fold.saves_at_once(batch):
                await held.enter_async_context(db.transaction())
            state, now = await fold.load(db, batch)
            outcomes = _decide(fold, batch, state, now, folded, work)
            await checkpoint("decided")
        if also is not None or (folded.dead and outcomes and not db.is_in_transaction()):
            await held.enter_async_context(db.transaction())
        if outcomes:
            folded.due = await fold.save(db, outcomes, now)
        if also is not None:
            await also(db, folded)
        else:
            await dead_letter.keep(db, folded.dead)
    work.committed()
    await checkpoint("committed")
    if outcomes:
        fold.committed(outcomes)
    return folded


def _decide(
    fold: Fold[E, S, O], batch: Sequence[Incoming[E]], state: S, now: datetime, folded: Folded[E], work: FoldWork
) -> list[O]:
    outcomes = []
    for incoming in batch:
        if fold.dedupes_by_key and now - incoming.record.appended_at > KEYS_KEPT:
            folded.aged += 1
            continue
        try:
            outcome = fold.decide(incoming, state, now)
        except OffContractError as finding:
            folded.dead.append(DeadLetter.of(incoming.record, finding))
            outcome = finding.outcome
            work.failed(incoming)
        except KeyUnknownError as missing:
            work.failed(incoming)
            folded.dead.append(DeadLetter(incoming.record, "key_unknown", f"key_id: not in the ring {missing.ring}"))
            continue
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE:
                raise
            folded.suspects.append((incoming, error))
            work.failed(incoming)
            continue
        if outcome is not None:
            outcomes.append(outcome)
            work.decided(incoming, outcome)
    return outcomes


def rounds(fold: Fold[E, S, O], batch: Sequence[Incoming[E]]) -> list[list[Incoming[E]]]:
    """Split a batch so that each round holds each state key once, and events of one key keep their order."""
    return in_rounds([(incoming, fold.keys(incoming)) for incoming in batch])


def in_rounds(events: Sequence[tuple[Incoming[E], Sequence[Hashable]]]) -> list[list[Incoming[E]]]:
    """Split events whose keys are known already, as `rounds` does."""
    parts: list[list[Incoming[E]]] = []
    last: dict[Hashable, int] = {}
    for incoming, keys in events:
        turn = max((last.get(key, -1) for key in keys), default=-1) + 1
        for key in keys:
            last[key] = turn
        if turn == len(parts):
            parts.append([])
        parts[turn].append(incoming)
    return parts
