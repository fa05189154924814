"""Dead letters held against today's code, without effect: each is folded in a transaction that is rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from countersign.runtime.errors import Kind, OffContractError, kind_of
from countersign.runtime.folding.dead_letter import record_of
from countersign.runtime.folding.fold import absorb
from countersign.runtime.retention import KEYS_KEPT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.dead_letter import DeadLetter
    from countersign.runtime.folding.fold import AnyFold, Folded
    from countersign.runtime.messages.record import Record

# In pages, so that a table of a million letters is never in memory.
PAGE = 100
LETTERS = """
SELECT topic, partition, "offset", record_key, value, headers, appended_at, cause, kept_at, whole
  FROM dead_letter
 WHERE state = 'new' AND topic = ANY($1::text[]) AND (topic, partition, "offset", appended_at) > ($2, $3, $4, $5)
 ORDER BY topic, partition, "offset", appended_at LIMIT $6
"""


NO_CONTENT = "its content was not kept, so it cannot be folded again"
TOO_OLD = f"older than {KEYS_KEPT.days} days: whether it was folded before is forgotten, so it is not folded again"


@dataclass(frozen=True, slots=True)
class Checked:
    """What today's code makes of a letter. `cause` None: it would be folded."""

    topic: str
    partition: int
    offset: int
    before: str
    cause: str | None


async def recheck(db: Connection, folds: Mapping[str, AnyFold]) -> AsyncIterator[Checked]:
    """Yield every new letter of the folds' topics with what today's code makes of it. Nothing is changed.

    Each is folded alone, as a redrive folds it: what one letter would have made possible for the next is not there.
    """
    after: tuple[str, int, int, datetime] = ("", -1, -1, datetime.fromtimestamp(0, UTC))
    while rows := await db.fetch(LETTERS, list(folds), *after, PAGE):
        for row in rows:
            cause = await _cause(db, folds[row["topic"]], record_of(row)) if row["whole"] else NO_CONTENT
            yield Checked(row["topic"], row["partition"], row["offset"], row["cause"], cause)
        after = (rows[-1]["topic"], rows[-1]["partition"], rows[-1]["offset"], rows[-1]["appended_at"])


async def _cause(db: Connection, fold: AnyFold, record: Record) -> str | None:
    try:
        incoming = fold.parse(record)
    except OffContractError as finding:
        return finding.cause
    if incoming is None:
        return None
    found: list[DeadLetter] = []

    async def note(_db: Connection, folded: Folded[Any]) -> None:
        found.extend(folded.dead)

    transaction = db.transaction()
    await transaction.start()
    try:
        folded: Any = await absorb(db, _Silent(fold), [incoming], also=note)
    except Exception as error:
        if kind_of(error) is Kind.INFRASTRUCTURE:
            raise
        return f"a bug of ours: {type(error).__name__}"
    finally:
        await transaction.rollback()
    if folded.suspects:
        return f"a bug of ours: {type(folded.suspects[0][1]).__name__}"
    if folded.aged:
        return TOO_OLD
    return found[0].cause if found else None


class _Silent:
    """A fold that wakes nobody: what it did is rolled back."""

    def __init__(self, fold: AnyFold) -> None:
        self._fold = fold

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)

    def committed(self, outcomes: Sequence[Any]) -> None:
        """Tell nobody."""
