"""Tables in memory, with transactions as PostgreSQL's READ COMMITTED has them: a row is seen as it was last committed.

A change belongs to its transaction until that ends. Who wants to change the row meanwhile waits, or passes it over.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from tests.sim.world.loop import SimLoop

    Values = dict[str, Any]


class LockedError(Exception):
    """The statement has met a row that another transaction holds: it begins again when that one has ended."""

    def __init__(self, holder: Transaction) -> None:
        super().__init__("a row is locked")
        self.holder = holder


class Row:
    """One row: as it was committed, and as its owner has changed it."""

    __slots__ = ("changed", "key", "owner", "value")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.value: Values | None = None
        self.changed: Values | None = None
        self.owner: Transaction | None = None


EPOCH = datetime(2026, 1, 1, tzinfo=UTC)  # at virtual time 0
_NO_SETTINGS: dict[str, str] = {}


def time_at(seconds: float) -> datetime:
    """Return the server's clock at that virtual time."""
    return EPOCH + timedelta(seconds=seconds)


class Transaction:
    """What a session has changed and not committed. It began `at` that virtual time, in the process with that loop.

    `is_cut`: whoever commits it does not hear whether it counts.
    """

    __slots__ = ("_now", "after_commit", "at", "changes", "is_cut", "is_over", "loop", "settings", "waiting")

    def __init__(self, at: float, settings: dict[str, str] | None = None, loop: SimLoop | None = None) -> None:
        self.at = at
        self._now: datetime | None = None
        self.settings = settings or _NO_SETTINGS
        self.loop = loop
        self.changes: list[tuple[Table, Row, Transaction | None, Values | None]] = []
        self.is_over = self.is_cut = False
        self.waiting: list[Callable[[], None]] = []
        self.after_commit: list[Callable[[], None]] = []

    @property
    def now(self) -> datetime:
        """Return when it began, by the server's clock: few statements ask for it."""
        if self._now is None:
            self._now = time_at(self.at)
        return self._now

    def mark(self) -> int:
        """Return a place to go back to."""
        return len(self.changes)

    def undo(self, mark: int) -> None:
        """Take back what came after the mark."""
        while len(self.changes) > mark:
            table, row, owner, changed = self.changes.pop()
            row.owner, row.changed = owner, changed
            table.drop_if_nothing(row)

    def commit(self) -> None:
        """Let everybody see the changes."""
        for table, row, _, _ in self.changes:
            if row.owner is self:
                row.value, row.changed, row.owner = row.changed, None, None
                table.drop_if_nothing(row)
        self._end()
        for call in self.after_commit:
            call()

    def rollback(self) -> None:
        """Undo everything."""
        self.undo(0)
        self._end()

    def _end(self) -> None:
        self.is_over = True
        if self.changes:
            self.changes = []
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for call in waiting:
                call()


class Table:
    """Rows by primary key, in the order in which they were inserted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: dict[Hashable, Row] = {}

    def get(self, by: Transaction, key: Hashable) -> Values | None:
        """Return a row as the transaction sees it."""
        row = self.rows.get(key)
        if row is None:
            return None
        return row.changed if row.owner is by else row.value

    def all(self, by: Transaction) -> list[tuple[Row, Values]]:
        """Return the rows that the transaction sees."""
        return [
            (row, value)
            for row in self.rows.values()
            if (value := row.changed if row.owner is by else row.value) is not None
        ]

    def committed(self) -> list[Values]:
        """Return the committed rows."""
        return [row.value for row in self.rows.values() if row.value is not None]

    @staticmethod
    def is_locked(by: Transaction, row: Row) -> bool:
        """Whether another transaction holds the row."""
        return row.owner is not None and row.owner is not by

    def lock(self, by: Transaction, row: Row) -> None:
        """Hold a row until the transaction ends. Raises LockedError."""
        if row.owner is by:
            return
        if row.owner is not None:
            raise LockedError(row.owner)
        by.changes.append((self, row, None, None))
        row.owner, row.changed = by, row.value

    def change(self, by: Transaction, row: Row, **values: Any) -> Values:
        """Change columns of a row; return it. Raises LockedError."""
        self.lock(by, row)
        by.changes.append((self, row, by, row.changed))
        changed = {**(row.changed or {}), **values}
        row.changed = changed
        return changed

    def delete(self, by: Transaction, row: Row) -> None:
        """Delete a row. Raises LockedError."""
        self.lock(by, row)
        by.changes.append((self, row, by, row.changed))
        row.changed = None

    def insert(self, by: Transaction, key: Hashable, values: Values) -> bool:
        """Insert a row unless its key is there. Raises LockedError while nobody knows yet whether it is."""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row(key)
        elif self.is_locked(by, row):
            raise LockedError(row.owner)  # type: ignore[arg-type] # a locked row has an owner
        elif (row.changed if row.owner is by else row.value) is not None:
            return False
        self.lock(by, row)
        by.changes.append((self, row, by, row.changed))
        row.changed = values
        return True

    def drop_if_nothing(self, row: Row) -> None:
        """Forget a key without a row."""
        if row.owner is None and row.value is None and self.rows.get(row.key) is row:
            del self.rows[row.key]
