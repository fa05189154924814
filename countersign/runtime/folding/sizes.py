"""How many events of a topic fit into one transaction, where a transaction of all took too long."""

from __future__ import annotations

from collections import Counter

import asyncpg

from countersign.runtime.database.postgres import STATEMENT_SECONDS_MAX

# From here on a batch cannot be larger (see `batch_records_max`), so the bound is forgotten.
_EVENTS_MAX = 2_000
# After so many transactions in a row that took less than this, twice as many events are tried: a try that fails costs
# the whole time limit.
_QUICK_SECONDS = STATEMENT_SECONDS_MAX / 4
_QUICK_IN_A_ROW = 10
_CLOCKS_APART_SECONDS = 1.0


class TooLongError(TimeoutError):
    """A transaction was ended because it took too long. Fewer events may fit."""


def took_too_long(error: Exception, seconds: float) -> bool:
    """Return True if a transaction that failed after so many seconds failed because of its own length.

    A time-out that came earlier is of something else that the fold waited for.
    """
    if isinstance(error, asyncpg.IdleInTransactionSessionTimeoutError):
        return True
    is_limit = isinstance(error, TimeoutError | asyncpg.QueryCanceledError)
    return is_limit and seconds >= STATEMENT_SECONDS_MAX - _CLOCKS_APART_SECONDS


class Sizes:
    """The bounds by topic; a topic whose transactions are quick has none."""

    def __init__(self) -> None:
        self._most: dict[str, int] = {}
        self._quick: Counter[str] = Counter()

    def most(self, topic: str) -> int:
        """Return how many events to fold in one transaction at most."""
        return self._most.get(topic, _EVENTS_MAX)

    def took_too_long(self, topic: str, events: int) -> None:
        """Halve the bound: so many took too long."""
        self._most[topic] = max(1, events // 2)
        self._quick[topic] = 0

    def went_well(self, topic: str, events: int, seconds: float) -> None:
        """Note that so many fitted; double the bound if as many as it allows were quick ten times in a row."""
        most = self._most.get(topic)
        if most is None or events < most:
            return
        self._quick[topic] = self._quick[topic] + 1 if seconds < _QUICK_SECONDS else 0
        if self._quick[topic] == _QUICK_IN_A_ROW:
            self._quick[topic] = 0
            self._most[topic] = 2 * most
            if self._most[topic] >= _EVENTS_MAX:
                del self._most[topic]
