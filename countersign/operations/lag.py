"""How far behind the groups are: in records, and in seconds against the life of a code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from countersign.contract.topic_files import topic_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from aiokafka import TopicPartition

    from countersign.operations.connecting import Cluster, Group

GROUP_PREFIX = "countersign."
FIRST_RECORDS_SECONDS_MAX = 10.0
_RATE_OVER_MIN = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class Reading:
    """A group that reads a topic."""

    group: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far a group is behind on a topic at one moment.

    `oldest` is when the broker appended the oldest record that the group has not committed; None: it has read all.
    Offsets are committed once a second, so that many records may have been read already. `reaches_back` False: the
    oldest unread record was deleted before it was read.
    """

    reading: Reading
    records: int
    oldest: datetime | None
    members: int
    at: datetime
    reaches_back: bool = True

    @property
    def seconds(self) -> float:
        """How long the oldest unread record has waited."""
        return 0.0 if self.oldest is None else max(0.0, (self.at - self.oldest).total_seconds())

    def caught_up_in(self, before: Lag) -> timedelta | None:
        """Return how long the group needs at the speed since an earlier look; None: it does not get nearer."""
        passed = self.at - before.at
        gained = before.records - self.records
        if self.records == 0:
            return timedelta(0)
        if gained <= 0 or passed < _RATE_OVER_MIN:
            return None
        return passed * (self.records / gained)


def readings() -> list[Reading]:
    """Return who reads what, as the topics' files say."""
    return [
        Reading(f"{GROUP_PREFIX}{service}", topic.topic) for topic in topic_files() for service in sorted(topic.readers)
    ]


class Groups:
    """Asks a cluster how far groups are."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime]) -> None:
        self._cluster = cluster
        self._admin = cluster.admin
        self._consumer = cluster.consumer
        self._clock = clock

    async def lag(self, wanted: Sequence[Reading]) -> list[Lag]:
        """Return the lag of each reading. Raises KafkaError, OSError and TimeoutError."""
        groups = sorted({reading.group for reading in wanted})
        # One by one: aiokafka cannot take apart an answer about several that have members.
        found = {group: await self._cluster.group(group) for group in groups}
        committed = {group: await self._admin.list_consumer_group_offsets(group) for group in groups}
        partitions = await self._cluster.partitions({reading.topic for reading in wanted})
        every = [partition for found in partitions.values() for partition in found]
        starts = await self._consumer.beginning_offsets(every) if every else {}
        ends = await self._consumer.end_offsets(every) if every else {}
        unread: dict[tuple[Reading, TopicPartition], int] = {}
        for reading in wanted:
            for partition in partitions.get(reading.topic, ()):
                known = committed[reading.group].get(partition)
                offset = starts[partition] if known is None or known.offset < 0 else known.offset
                unread[reading, partition] = offset
        appended = await self._appended({
            (partition, max(offset, starts[partition]))
            for (_, partition), offset in unread.items()
            if offset < ends[partition]
        })  # fmt: skip
        seen = _Seen(unread, starts, ends, appended, found, self._clock())
        return [seen.lag_of(reading, partitions.get(reading.topic, ())) for reading in wanted]

    async def _appended(self, first: set[tuple[TopicPartition, int]]) -> dict[tuple[TopicPartition, int], datetime]:
        """Return when the records at these offsets, or the first behind them, were appended."""
        found: dict[tuple[TopicPartition, int], datetime] = {}
        waiting = set(first)
        while waiting:
            # Groups that read one partition may be at different offsets: a round for each.
            now_asked = dict(sorted(waiting, reverse=True))
            found |= await self._first_records(now_asked)
            waiting -= set(now_asked.items())
        return found

    async def _first_records(self, offsets: Mapping[TopicPartition, int]) -> dict[tuple[TopicPartition, int], datetime]:
        self._consumer.assign(list(offsets))
        for partition, offset in offsets.items():
            self._consumer.seek(partition, offset)
        found: dict[tuple[TopicPartition, int], datetime] = {}
        left = set(offsets)
        async with asyncio.timeout(FIRST_RECORDS_SECONDS_MAX):
            while left:
                fetched = await self._consumer.getmany(*left, timeout_ms=200, max_records=len(left))
                for partition, messages in fetched.items():
                    appended = datetime.fromtimestamp(messages[0].timestamp / 1000, UTC)
                    found[partition, offsets[partition]] = appended
                    left.discard(partition)
        return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """What Kafka said: committed offsets, the first and the next offset of each partition, times of records."""

    unread: Mapping[tuple[Reading, TopicPartition], int]
    starts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    appended: Mapping[tuple[TopicPartition, int], datetime]
    groups: Mapping[str, Group]
    at: datetime

    def lag_of(self, reading: Reading, partitions: Iterable[TopicPartition]) -> Lag:
        offsets = {partition: self.unread[reading, partition] for partition in partitions}
        firsts = {partition: max(offset, self.starts[partition]) for partition, offset in offsets.items()}
        times = [self.appended[one] for one in firsts.items() if one in self.appended]
        return Lag(
            reading=reading,
            records=sum(max(0, self.ends[partition] - first) for partition, first in firsts.items()),
            oldest=min(times, default=None),
            members=self.groups[reading.group].members_for(reading.topic),
            at=self.at,
            reaches_back=all(offset >= self.starts[partition] for partition, offset in offsets.items()),
        )
