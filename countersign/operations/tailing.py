"""Reads the end of a topic, in the order in which the broker appended, without reading what comes before.

What is held at a time is one fetch of each partition, however long the topic is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from countersign.operations.log import Log, Offsets
    from countersign.runtime.messages.record import Record


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

    log: Log
    starts: Offsets = field(default_factory=dict)
    ends: Offsets = field(default_factory=dict)
    read: int = 0

    async def since(self, time: datetime) -> None:
        """Begin with the first record that was appended at `time` or later, as Kafka's index of times says."""
        self.starts, self.ends = await self.log.at(time), await self.log.ends()

    async def last(self, count: int) -> None:
        """Begin `count` records before the end of each partition."""
        firsts, self.ends = await self.log.starts(), await self.log.ends()
        self.starts = {each: max(firsts[each], end - count) for each, end in self.ends.items()}

    async def records(self) -> AsyncIterator[Record]:
        """Yield what lies between `starts` and `ends`, the oldest first over all partitions."""
        async for record in self.log.between(self.starts, self.ends):
            self.read += 1
            yield record

    async def following(self) -> AsyncIterator[Record]:
        """Yield what is appended after `ends`, for ever."""
        async for record in self.log.following(self.ends):
            self.read += 1
            yield record


def _same_json(value: object, text: str) -> bool:
    try:
        meant = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return type(value) is type(meant) and value == meant
