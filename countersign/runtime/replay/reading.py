"""A topic read by seeking, on a consumer that belongs to no group: nobody's offsets are touched."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import OffsetOutOfRangeError

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.broker.closing import stop_clients
from countersign.runtime.consuming.fetching import FETCH_MS, Fetching, UntakeableRecordError, records_of
from countersign.runtime.consuming.membership import ANSWER_MS_MAX, PARTITION_BYTES_MAX
from countersign.runtime.consuming.seeking import offsets_at
from countersign.runtime.replay.plan import CLOCKS_APART_MAX, PlanError, Range, told_records

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from countersign.runtime.folding.dead_letter import DeadLetter
    from countersign.runtime.messages.record import Record
    from countersign.runtime.replay.plan import Asked
    from countersign.runtime.settings import KafkaSettings

# Rows of a batch are locked until it commits, and live traffic may wait for one of them.
BATCH_RECORDS_MAX = 100
SILENCE_SECONDS_MAX = 60.0  # chosen: records that are known to be there and do not come: somebody has to look


@dataclass(slots=True)
class Chunk:
    """What a fetch brought: records of wanted ranges, and the next offset of each partition behind them."""

    records: list[Record] = field(default_factory=list)
    untakeable: list[DeadLetter] = field(default_factory=list)
    reached: dict[int, int] = field(default_factory=dict)


@asynccontextmanager
async def consuming(settings: KafkaSettings) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer without a group. Raises KafkaError."""
    consumer = AIOKafkaConsumer(
        **settings.arguments(),
        client_id="countersign.replay",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=ANSWER_MS_MAX,
        metadata_max_age_ms=METADATA_AGE_MS,
        fetch_max_wait_ms=FETCH_MS,
        max_partition_fetch_bytes=PARTITION_BYTES_MAX,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await stop_clients(consumer.stop)


async def ranges_of(settings: KafkaSettings, asked: Asked) -> list[Range]:
    """Return the offsets in which what was asked for lies, as the topic is now. Raises PlanError for no such topic.

    By event time, records may have been appended long after they were made: these are looked for up to the end.
    """
    partitions = await _partitions(settings, asked.topic)
    async with consuming(settings) as consumer:
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        by_event = asked.by == "event-time"
        if asked.since is not None:
            since = asked.since - CLOCKS_APART_MAX if by_event else asked.since
            starts = await offsets_at(consumer, partitions, since)
        if asked.until is not None and not by_event:
            ends = await offsets_at(consumer, partitions, asked.until)
    return [
        Range(partition=one.partition, first=starts[one], end=ends[one])
        for one in sorted(partitions)
        if starts[one] < ends[one]
    ]


async def _partitions(settings: KafkaSettings, topic: str) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(
        **settings.arguments(),
        request_timeout_ms=ANSWER_MS_MAX,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    await admin.start()
    try:
        described = await admin.describe_topics([topic])
    finally:
        await stop_clients(admin.close)
    found = [TopicPartition(topic, part["partition"]) for one in described for part in one["partitions"]]
    if not found:
        raise PlanError(f"Kafka has no topic {topic}")
    return found


async def require_present(settings: KafkaSettings, topic: str, ranges: Sequence[Range]) -> None:
    """Raise PlanError if the topic's retention has deleted records of these ranges, or the topic was made anew."""
    wanted = {TopicPartition(topic, one.partition): one for one in ranges if one.first < one.end}
    if not wanted:
        return
    async with consuming(settings) as consumer:
        starts = await consumer.beginning_offsets(list(wanted))
        ends = await consumer.end_offsets(list(wanted))
    for partition, one in wanted.items():
        if starts[partition] > one.first:
            raise _deleted(partition, starts[partition] - one.first)
        if ends[partition] < one.end:
            raise PlanError(
                f"{topic} partition {one.partition} ends at offset {ends[partition]}, and the plan at {one.end}: the "
                "topic was made anew since. Make a new plan"
            )


def _deleted(partition: TopicPartition, count: int | None) -> PlanError:
    what = "records" if count is None else told_records(count)
    return PlanError(
        f"{what} of {partition.topic} partition {partition.partition} were deleted by the topic's retention since the "
        "plan was made: make a new one of what is left"
    )


async def read(settings: KafkaSettings, topic: str, ranges: Sequence[Range], most: int) -> AsyncGenerator[Chunk, None]:
    """Yield the records of these ranges, at most `most` at a time, until each range is read to its end.

    Raises KafkaError, TimeoutError if nothing comes for a minute, and PlanError where records were deleted meanwhile.
    """
    left = {one.partition: (one.first, one.end) for one in ranges if one.first < one.end}
    fetching = Fetching(most)
    while left:
        async with consuming(settings) as consumer:
            places = {TopicPartition(topic, number): first for number, (first, _) in left.items()}
            consumer.assign(list(places))
            for partition, first in places.items():
                consumer.seek(partition, first)
            try:
                moved_at = monotonic()
                while left:
                    chunk = await _chunk(consumer, fetching, topic, left)
                    if chunk.reached:
                        yield chunk
                        moved_at = monotonic()
                    elif monotonic() - moved_at > SILENCE_SECONDS_MAX:
                        raise TimeoutError(f"no record of {topic} came for {SILENCE_SECONDS_MAX:.0f} s")
            except UntakeableRecordError:
                continue  # again from where we are, one record at a time
            except OffsetOutOfRangeError as error:
                raise _deleted(next(iter(error.args[0])), None) from None


async def _chunk(consumer: AIOKafkaConsumer, fetching: Fetching, topic: str, left: dict[int, tuple[int, int]]) -> Chunk:
    got, letters = await fetching.fetch(consumer)
    chunk = Chunk()
    for messages in got.values():
        records, refused = records_of(one for one in messages if one.offset < left.get(one.partition, (0, 0))[1])
        chunk.untakeable += refused
        places = {(letter.record.partition, letter.record.offset) for letter in refused}
        chunk.records += [record for record in records if (record.partition, record.offset) not in places]
    for letter in letters:
        number, offset = letter.record.partition, letter.record.offset
        if offset < left.get(number, (0, 0))[1]:
            chunk.untakeable.append(letter)
        consumer.seek(TopicPartition(topic, number), offset + 1)
    for number, (first, end) in list(left.items()):
        partition = TopicPartition(topic, number)
        # Of a compacted topic the last records of a range may be gone: the position passes them, a record would not.
        reached = min(await consumer.position(partition), end)
        if reached > first:
            chunk.reached[number] = reached
            left[number] = (reached, end)
        if reached >= end:
            del left[number]
            consumer.pause(partition)
    return chunk


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of the records that were read are meant."""

    asked: Asked

    def chosen_of(self, chunk: Chunk) -> list[Record]:
        """Return the records of a chunk that are meant."""
        return [record for record in chunk.records if self.is_meant(record)]

    def untakeable_of(self, chunk: Chunk) -> list[DeadLetter]:
        """Return those that cannot be taken apart: of these nobody can say that they are not meant."""
        return [] if self.asked.key is not None or self.asked.type is not None else chunk.untakeable

    def is_meant(self, record: Record) -> bool:
        """Return True if key, type and, by event time, the time fit. A record without a time has that of its append."""
        asked = self.asked
        if asked.key is not None and (record.key or b"").decode(errors="replace") != asked.key:
            return False
        if asked.type is not None and _type(record) != asked.type:
            return False
        if asked.by == "log-time":
            return True
        made_at = event_time(record)
        return not (asked.since is not None and made_at < asked.since) and not (
            asked.until is not None and made_at >= asked.until
        )


def _type(record: Record) -> str:
    return (record.header("ce_type") or b"").decode(errors="replace")


def type_of(record: Record) -> str:
    """Return the record's ce_type, as a plan counts it."""
    return _type(record)[:80] or "without a ce_type"


def event_time(record: Record) -> datetime:
    """Return when the record's event was made, as its producer says; without a time of its own, its append time."""
    try:
        made_at = datetime.fromisoformat((record.header("ce_time") or b"").decode())
    except ValueError:
        return record.appended_at
    return record.appended_at if made_at.tzinfo is None else made_at


def age_at(record: Record, now: datetime) -> timedelta:
    """Return how old a record is by the older of its two times."""
    return now - min(record.appended_at, event_time(record))
