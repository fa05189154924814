"""Reads the end of a topic, in the order in which the broker appended, without reading what comes before.

What is held at a time is one fetch of each partition, however long the topic is.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.runtime.fetching import record_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from aiokafka import TopicPartition

    from countersign.operations.connecting import Cluster
    from countersign.runtime.record import Record

_RECORDS_MAX = 500  # of one fetch: over all partitions
_WAIT_MS = 200


@dataclass(frozen=True, slots=True)
class Condition:
    """What a field of the value must be. `path` is dotted; a field that is not there is null."""

    path: str
    equal: bool
    text: str

    @classmethod
    def parsed(cls, written: str) -> Condition:
        """Return the condition of `client.ip==192.0.2.1` or `action!=login`. Raises ValueError."""
        for operator, equal in (("!=", False), ("==", True)):
            path, found, text = written.partition(operator)
            if found and path.strip():
                return cls(path.strip(), equal, text.strip())
        raise ValueError(f"{written}: expected FIELD==VALUE or FIELD!=VALUE, such as client.ip==192.0.2.1")

    def holds(self, fields: object) -> bool:
        """Return True if it holds for a record's value. Text is compared as text, everything else as JSON."""
        value = fields
        for name in self.path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        same = value == self.text if isinstance(value, str) else _same_json(value, self.text)
        return same is self.equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which records are wanted: every part that is given must fit. `types` are full ce_types, of which one must fit."""

    types: frozenset[str] = frozenset()
    key: str | None = None
    conditions: Sequence[Condition] = ()

    def lets_through(self, record: Record) -> bool:
        """Return True if the record is wanted."""
        if self.types and (record.header("ce_type") or b"").decode("utf-8", "replace") not in self.types:
            return False
        if self.key is not None and record.key != self.key.encode():
            return False
        if not self.conditions:
            return True
        try:
            fields = json.loads(record.value or b"null")
        except (ValueError, RecursionError):
            return False
        return all(condition.holds(fields) for condition in self.conditions)


@dataclass(slots=True)
class Tail:
    """The end of one topic. `starts` are the first offsets that are read, `read` counts the records that were."""

    cluster: Cluster
    starts: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    read: int = 0

    async def since(self, partitions: Sequence[TopicPartition], time: datetime) -> None:
        """Begin with the first record that was appended at `time` or later, as Kafka's index of times says."""
        self.ends = await self.cluster.consumer.end_offsets(list(partitions))
        millis = int(time.timestamp() * 1000)
        found = await self.cluster.consumer.offsets_for_times(dict.fromkeys(partitions, millis))
        self.starts = {each: found[each].offset if found.get(each) else self.ends[each] for each in partitions}

    async def last(self, partitions: Sequence[TopicPartition], count: int) -> None:
        """Begin `count` records before the end of each partition."""
        firsts = await self.cluster.consumer.beginning_offsets(list(partitions))
        self.ends = await self.cluster.consumer.end_offsets(list(partitions))
        self.starts = {each: max(firsts[each], self.ends[each] - count) for each in partitions}

    async def records(self) -> AsyncIterator[Record]:
        """Yield what lies between `starts` and `ends`, the oldest first over all partitions."""
        waiting: dict[TopicPartition, deque[Record]] = {
            each: deque() for each, start in self.starts.items() if start < self.ends[each]
        }
        self._seek(self.starts)
        while waiting:
            empty = [each for each, records in waiting.items() if not records]
            for each, record in await self._fetched(empty) if empty else ():
                if record.offset < self.ends[each]:
                    waiting[each].append(record)
            for each in empty:
                if not waiting[each] and await self.cluster.consumer.position(each) >= self.ends[each]:
                    del waiting[each]
            while waiting and all(waiting.values()):
                yield min(waiting.values(), key=lambda records: records[0].appended_at).popleft()

    async def following(self) -> AsyncIterator[Record]:
        """Yield what is appended after `ends`, for ever: the oldest of each fetch first."""
        self._seek(self.ends)
        while True:
            fetched = await self._fetched(list(self.ends))
            for _, record in sorted(fetched, key=lambda pair: pair[1].appended_at):
                yield record

    def _seek(self, offsets: dict[TopicPartition, int]) -> None:
        self.cluster.consumer.assign(list(offsets))
        for each, offset in offsets.items():
            self.cluster.consumer.seek(each, offset)

    async def _fetched(self, partitions: Sequence[TopicPartition]) -> list[tuple[TopicPartition, Record]]:
        fetched = await self.cluster.consumer.getmany(*partitions, timeout_ms=_WAIT_MS, max_records=_RECORDS_MAX)
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # aiokafka's waits may take a cancellation and not pass it on
            raise asyncio.CancelledError
        found = [(each, record_of(message)) for each, messages in fetched.items() for message in messages]
        self.read += len(found)
        return found


def _same_json(value: object, text: str) -> bool:
    try:
        meant = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return type(value) is type(meant) and value == meant
