"""For how many seconds records wait to be folded, as looks at the ends of partitions show it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import TopicPartition


class Behind:
    """Remembers when each end of a partition was first seen, until what lies before it is folded."""

    def __init__(self) -> None:
        self._ends: dict[TopicPartition, deque[tuple[int, float]]] = {}

    def look(self, lag: Mapping[TopicPartition, tuple[int, int]], now: float) -> dict[str, float]:
        """Return by topic for how many seconds its oldest record that is not folded has been seen; 0: there is none.

        `lag` has the position and the records behind it of every partition that is read here, at the monotonic `now`.
        """
        for gone in self._ends.keys() - lag.keys():
            del self._ends[gone]
        seconds: dict[str, float] = {}
        for partition, (position, records) in lag.items():
            ends = self._ends.setdefault(partition, deque())
            end = position + records
            if not ends or end > ends[-1][0]:
                ends.append((end, now))
            while ends and ends[0][0] <= position:
                ends.popleft()
            waited = now - ends[0][1] if ends else 0.0
            seconds[partition.topic] = max(waited, seconds.get(partition.topic, 0.0))
        return seconds
