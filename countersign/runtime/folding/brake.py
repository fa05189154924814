"""The brake: when our own code fails on too many records, the partition waits for somebody to look.

It counts bugs only. A producer off contract raises a metric and never stops anybody else.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.database.postgres import Connection

WINDOW = 100
FAILED_MAX = 20
IN_A_ROW = 50
KEYS_MIN = 3  # one account's poison becomes dead letters and stops nobody

HOLD = """
INSERT INTO brake (topic, partition, reason) VALUES ($1, $2, $3)
    ON CONFLICT (topic, partition) DO UPDATE SET reason = excluded.reason, since = now(), released_at = NULL
"""

HELD = """
SELECT topic, partition, reason FROM brake WHERE released_at IS NULL AND topic = ANY($1::text[])
"""


class Tally:
    """The last records of one partition: which failed, and whose they were."""

    def __init__(self) -> None:
        self._last: deque[bytes | None] = deque(maxlen=WINDOW)
        self._row: deque[bytes] = deque(maxlen=IN_A_ROW)

    def folded(self, count: int) -> None:
        """Count records that went well."""
        if count and (self._row or any(self._last)):
            self._row.clear()
            self._last.extend([None] * min(count, WINDOW))

    def failed(self, key: bytes) -> str | None:
        """Count a record that failed by a bug; return the reason if the partition is to be held."""
        self._last.append(key or b"?")
        self._row.append(key or b"?")
        among = [entry for entry in self._last if entry is not None]
        if len(among) > FAILED_MAX and len(set(among)) >= KEYS_MIN:
            return f"{len(among)} of the last {WINDOW} records failed, of {len(set(among))} keys"
        if len(self._row) == IN_A_ROW and len(set(self._row)) >= KEYS_MIN:
            return f"{IN_A_ROW} records in a row failed"
        return None


async def hold(db: Connection, topic: str, partition: int, reason: str) -> None:
    """Keep the brake in the database: a restart or a rebalance does not release it."""
    await db.execute(HOLD, topic, partition, reason)


async def held(db: Connection, topics: Sequence[str]) -> dict[tuple[str, int], str]:
    """Return the partitions that are held, with their reasons."""
    return {(row["topic"], row["partition"]): row["reason"] for row in await db.fetch(HELD, list(topics))}
