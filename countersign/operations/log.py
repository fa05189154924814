"""What topics hold, read as one log in the order of append times: in pieces, without a group, without effect."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition

from countersign.operations.connecting import connected
from countersign.runtime.consuming.fetching import record_of
from countersign.runtime.consuming.seeking import offsets_at
from countersign.runtime.consuming.unpacking import fetch_unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.messages.record import Record

    Offsets = Mapping[TopicPartition, int]

SILENCE_SECONDS_MAX = 30.0  # without a record, though there are some: the brokers are away
_LOOK_MS = 500
_RECORDS_MAX = 500


class TopicAbsentError(Exception):
    """A topic that is to be read has no partitions."""


class Log:
    """Topics, each from an offset to another; lent by `reading_log`."""

    def __init__(self, consumer: Any, topics: Sequence[str]) -> None:
        self._consumer = consumer
        self._rank = {topic: rank for rank, topic in enumerate(topics)}
        self._partitions = sorted(consumer.assignment())
        self.untakeable = 0
        """How many records were passed over, because a header's name is not UTF-8: nobody can read those."""

    async def starts(self) -> Offsets:
        """Return the first offset of each partition that has not been deleted."""
        found: Offsets = await self._consumer.beginning_offsets(self._partitions)
        return found

    async def ends(self) -> Offsets:
        """Return the next offset of each partition."""
        found: Offsets = await self._consumer.end_offsets(self._partitions)
        return found

    async def at(self, moment: datetime) -> Offsets:
        """Return the first offset that was appended at `moment` or later, of each partition; else its end."""
        return await offsets_at(self._consumer, self._partitions, moment)

    async def first_times(self, topic: str) -> list[tuple[datetime, bool]]:
        """Return when the first record of each partition that has one was appended, and if older ones were deleted."""
        partitions = [one for one in self._partitions if one.topic == topic]
        starts = await self._consumer.beginning_offsets(partitions)
        found = await self._consumer.offsets_for_times(dict.fromkeys(partitions, 0))
        return [
            (datetime.fromtimestamp(first.timestamp / 1000, UTC), starts[one] > 0)
            for one, first in found.items()
            if first is not None
        ]

    async def between(self, starts: Offsets, ends: Offsets) -> AsyncIterator[Record]:
        """Yield records by append time; of equal times, in the order in which the topics were named.

        Raises TimeoutError where the brokers fall silent.
        """
        waiting: dict[TopicPartition, deque[Record]] = {}
        for partition, end in ends.items():
            self._consumer.seek(partition, min(starts[partition], end))
            if starts[partition] < end:
                waiting[partition] = deque()
        heads: list[tuple[datetime, int, int, int, Record]] = []
        lacking = set(waiting)
        while lacking or heads:
            if lacking:
                await self._fill(waiting, lacking, ends)
                for partition in lacking:
                    if waiting[partition]:
                        heapq.heappush(heads, self._head(waiting[partition].popleft()))
                lacking = set()
                continue
            record = heapq.heappop(heads)[-1]
            yield record
            partition = TopicPartition(record.topic, record.partition)
            if waiting[partition]:
                heapq.heappush(heads, self._head(waiting[partition].popleft()))
            else:
                lacking.add(partition)

    async def following(self, starts: Offsets) -> AsyncIterator[Record]:
        """Yield what is appended from there on, for ever: the oldest of each fetch first."""
        for partition, offset in starts.items():
            self._consumer.seek(partition, offset)
        while True:
            fetched = await self._fetch(self._partitions)
            found = [record_of(one) for messages in fetched.values() for one in messages]
            for record in sorted(found, key=lambda one: one.appended_at):
                yield record

    def _head(self, record: Record) -> tuple[datetime, int, int, int, Record]:
        return record.appended_at, self._rank[record.topic], record.partition, record.offset, record

    async def _fill(
        self, waiting: Mapping[TopicPartition, deque[Record]], lacking: Collection[TopicPartition], ends: Offsets
    ) -> None:
        """Fetch until each of these partitions has a record or is at its end."""
        left = set(lacking)
        async with asyncio.timeout(None) as silence:
            while True:
                left = {one for one in left if not waiting[one] and await self._consumer.position(one) < ends[one]}
                if not left:
                    return
                loop = asyncio.get_running_loop()
                if silence.when() is None:
                    silence.reschedule(loop.time() + SILENCE_SECONDS_MAX)
                for partition, messages in (await self._fetch(left)).items():
                    waiting[partition].extend(record_of(one) for one in messages if one.offset < ends[partition])
                    silence.reschedule(loop.time() + SILENCE_SECONDS_MAX)

    async def _fetch(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Sequence[Any]]:
        try:
            got: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                *partitions, timeout_ms=_LOOK_MS, max_records=_RECORDS_MAX
            )
        except UnicodeDecodeError:
            return await self._fetch_carefully(partitions)
        return got

    async def _fetch_carefully(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, Sequence[Any]]:
        """Fetch a record of each partition by itself, and pass over one that cannot be taken apart."""
        got: dict[TopicPartition, Sequence[Any]] = {}
        for partition in partitions:
            position = await self._consumer.position(partition)
            self._consumer.seek(partition, position)  # what was fetched before the error is fetched again
            try:
                found = await self._consumer.getmany(partition, timeout_ms=_LOOK_MS, max_records=1)
            except UnicodeDecodeError:
                first = await self._consumer.position(partition)
                unpacked = await fetch_unpacked(self._consumer, partition, first, _RECORDS_MAX)
                self._consumer.seek(partition, unpacked.next_offset + (unpacked.odd is not None))
                self.untakeable += unpacked.odd is not None
                found = {partition: unpacked.messages} if unpacked.messages else {}
            got.update(found)
        return got


@asynccontextmanager
async def reading_log(kafka: KafkaConnection, topics: Sequence[str]) -> AsyncIterator[Log]:
    """Connect to Kafka.

    Raises TopicAbsentError, and KafkaError, OSError or TimeoutError where the brokers do not answer.
    """
    async with connected(kafka) as cluster:
        partitions = await cluster.partitions(topics)
        if absent := [topic for topic in topics if not partitions.get(topic)]:
            raise TopicAbsentError(f"there is no topic {', '.join(sorted(absent))}")
        cluster.consumer.assign([one for found in partitions.values() for one in found])
        yield Log(cluster.consumer, topics)
