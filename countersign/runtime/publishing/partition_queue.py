"""The rows of one partition on their way: what waits, what is in flight, and what is wrong."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from countersign.runtime.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from countersign.runtime.backoff import Chance
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.outbox import TopicOrPartition

IN_FLIGHT_MAX = 200  # rows sent together; in an outage, as many per partition keep a lease
WAITING_MAX = 1_000  # more are given back to the sweeper
PROBES_MAX = 20  # rows that wait on while a partition is in trouble: enough to notice that it is well again


class PartitionQueue:
    """The rows of one partition. Without a partition: rows of a topic whose partitions are not known yet.

    A queue that waits, for an acknowledgement or before its next try, keeps no other queue waiting.
    """

    def __init__(self, topic: str, partition: int | None, chance: Chance | None = None) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Outgoing] = deque()
        self.suspects: deque[Outgoing] = deque()  # refused together with others: each is tried alone
        self.since: float | None = None  # when the try that is under way began, by the event loop's clock
        self.trouble: str | None = None
        self.at_work = False
        self.backoff = Backoff(chance)
        self._failures = 0

    @property
    def topic_partition(self) -> TopicOrPartition:
        """The topic and the partition."""
        return self.topic, self.partition

    @property
    def closed(self) -> bool:
        """Whether it takes no more rows now: it is full, or in trouble."""
        return self.trouble is not None or len(self.waiting) >= WAITING_MAX

    @property
    def empty(self) -> bool:
        """Whether nothing waits in it."""
        return not self.waiting and not self.suspects

    def next(self, may_send: Callable[[UUID], bool]) -> list[Outgoing]:
        """Take rows to send together. Rows that may not be sent any more are dropped."""
        rows: list[Outgoing] = []
        while self.waiting and len(rows) < IN_FLIGHT_MAX:
            row = self.waiting.popleft()
            if may_send(row.event_id):
                rows.append(row)
        return rows

    def failed(self) -> int:
        """Count a failed try; return how many there were in a row."""
        self._failures += 1
        return self._failures

    def well(self) -> None:
        """Forget what was wrong."""
        self._failures = 0
        self.trouble = None
        self.backoff.reset()

    def surplus(self) -> list[Outgoing]:
        """Take out what need not wait here while the queue is in trouble."""
        rows = []
        while len(self.waiting) > PROBES_MAX:
            rows.append(self.waiting.pop())
        return rows
