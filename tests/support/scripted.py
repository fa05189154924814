"""A database in memory and a fold that does as told: for interleavings that real servers show once in a thousand."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from countersign.runtime.database.postgres import STATEMENT_SECONDS_MAX
from countersign.runtime.errors import OffContractError
from countersign.runtime.folding import brake, dead_letter, whole_letters
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import AT_ONCE, never
from countersign.runtime.messages.record import Incoming, Record
from countersign.runtime.publishing.outbox import NOTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence

    from countersign.runtime.publishing.outbox import Kept

TOPIC = "scripted.v1"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
QUIET = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[lambda *_: ""])


def a_record(offset: int, partition: int = 0, *, value: bytes = b"", appended_at: datetime = NOON) -> Record:
    """Return a record of the scripted topic; its value says what goes wrong with it."""
    return Record(TOPIC, partition, offset, b"key", value, (), appended_at)


@dataclass
class Tables:
    """What is committed: folded values, brakes that are held, letters with their states."""

    folded: list[tuple[int, int]] = field(default_factory=list)
    braked: dict[tuple[str, int], str] = field(default_factory=dict)
    letters: dict[tuple[int, int], str] = field(default_factory=dict)


class ScriptedDatabase:
    """Understands the runtime's own statements. `before` is awaited before each, and may wait or raise."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.history: list[Tables] = []  # as committed, one after the other
        self.before: Callable[[str], Awaitable[None]] = _nothing
        self._in_transaction = 0

    def is_in_transaction(self) -> bool:
        """Tell whether a transaction is open."""
        return self._in_transaction > 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Keep what the body does, or nothing of it if it raises."""
        kept = copy.deepcopy(self.tables)
        self._in_transaction += 1
        try:
            yield
        except BaseException:
            self.tables = kept
            raise
        finally:
            self._in_transaction -= 1
        self._committed()

    def _committed(self) -> None:
        if not self._in_transaction:
            self.history.append(copy.deepcopy(self.tables))

    async def execute(self, sql: str, *arguments: Any) -> None:
        """Do what a statement of the runtime would."""
        await self.before(sql)
        match sql:
            case brake.HOLD:
                self.tables.braked[arguments[0], arguments[1]] = arguments[2]
            case dead_letter.KEEP:
                for partition, offset, kind in zip(arguments[1], arguments[2], arguments[9], strict=True):
                    self.tables.letters.setdefault((partition, offset), kind)
            case dead_letter.SETTLE:
                _, partition, offset, _, state, *_ = arguments
                self.tables.letters[partition, offset] = state
            case "SELECT 1":
                pass
            case _:
                raise AssertionError(sql)
        self._committed()

    async def fetch(self, sql: str, *_: Any) -> list[dict[str, Any]]:
        """Return what a statement of the runtime would: as it was when it was asked."""
        if sql == whole_letters.COUNTED:
            return []
        assert sql == brake.HELD
        rows = [
            {"topic": topic, "partition": number, "reason": reason}
            for (topic, number), reason in self.tables.braked.items()
        ]
        await self.before(sql)
        return rows


async def _nothing(_sql: str) -> None:
    pass


class ScriptedLink:
    """Lends the database to one at a time, as a link does."""

    def __init__(self, db: ScriptedDatabase) -> None:
        self.db = db
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[ScriptedDatabase]:
        """Lend it."""
        async with self._one_at_a_time:
            yield self.db


class Publishing:
    """Takes what is due and does nothing with it."""

    def hand(self, due: Kept) -> None:
        """Take it."""


class ScriptedFold:
    """Folds a record by writing its place down; the step that its value names goes wrong: parse, keys, decide, ...

    `off` is off the contract, `skip` of no use, `slow` takes too long, and so do `slow_from` at once.
    """

    topic = TOPIC
    dedupes_by_key = True
    delay_ms_max = AT_ONCE
    stale_after = None

    def __init__(self) -> None:
        self.now = NOON
        self.batches: list[int] = []
        self.slow_from: int | None = None
        self.mended: set[str] = set()

    def _trouble(self, step: str, record: Record) -> None:
        if record.value == step.encode() and step not in self.mended:
            raise ZeroDivisionError(step)

    def parse(self, record: Record) -> Incoming[Any] | None:
        """Return the record as its own event."""
        self._trouble("parse", record)
        if record.value == b"off":
            raise OffContractError("value: off")
        return None if record.value == b"skip" else Incoming(record, record, "1", NOON)

    def keys(self, incoming: Incoming[Any]) -> tuple[Hashable, ...]:
        """Return its place: each record has its own."""
        self._trouble("keys", incoming.record)
        return ((incoming.record.partition, incoming.record.offset),)

    def saves_at_once(self, events: Sequence[Incoming[Any]]) -> bool:
        """Use a transaction."""
        for incoming in events:
            self._trouble("saves_at_once", incoming.record)
        return never(events)

    async def load(self, db: Any, events: Sequence[Incoming[Any]]) -> tuple[None, datetime]:
        """Load nothing; with too many events at once the statement takes too long."""
        del db
        self.batches.append(len(events))
        too_many = self.slow_from is not None and len(events) >= self.slow_from
        if too_many or any(incoming.record.value == b"slow" for incoming in events):
            await asyncio.sleep(STATEMENT_SECONDS_MAX)
            raise TimeoutError
        for incoming in events:
            self._trouble("load", incoming.record)
        return None, self.now

    def decide(self, incoming: Incoming[Any], state: None, now: datetime) -> Record:
        """Let it through."""
        del state, now
        self._trouble("decide", incoming.record)
        return incoming.record

    async def save(self, db: ScriptedDatabase, outcomes: Sequence[Record], now: datetime) -> Kept:
        """Write the places down."""
        del now
        for record in outcomes:
            self._trouble("save", record)
        db.tables.folded += [(record.partition, record.offset) for record in outcomes]
        return NOTHING

    def effect(self, outcome: Record) -> Effect:
        """Say nothing in particular."""
        del outcome
        return Effect("written")

    def committed(self, outcomes: Sequence[Record]) -> None:
        """Wake nobody."""
