"""Fetching records, also around those that cannot even be taken apart.

The name of a header is UTF-8 by Kafka's protocol, and no broker looks whether it is. aiokafka raises at such a record
on every fetch, and what the same fetch brought of other partitions is lost with it.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from aiokafka.errors import KafkaError

from countersign.clock import loop_seconds
from countersign.runtime.consuming.unpacking import Odd, fetch_unpacked
from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.messages.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka import ConsumerRecord, TopicPartition

    from countersign.runtime.consuming.membership import GroupConsumer

    Fetched: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 500
FETCH_CAREFULLY_MS = 100  # for each partition, of which there are dozens
CAREFUL_SECONDS = 2.0
_NO_TEXT = "header: a name that is not UTF-8; the record lies on the topic, and cannot be kept here"
_NO_TIME = "timestamp: expected milliseconds since 1970, up to the year 9999"
# Of what has no time of its own the age is not known: it counts as very old.
_VERY_OLD = datetime.fromtimestamp(0, UTC)


class UntakeableRecordError(KafkaError):  # type: ignore[misc] # aiokafka has no types
    """A fetch met a record that cannot be taken apart: begin again where records are folded, with a new consumer."""


class Fetching:
    """Fetches for one worker: all partitions at once, or carefully, one record of one partition at a time."""

    def __init__(self, records_max: int) -> None:
        self._records_max = records_max
        self._careful_until: float | None = None

    async def fetch(self, consumer: GroupConsumer) -> tuple[Fetched, Sequence[DeadLetter]]:
        """Return records, and letters of those to be passed over behind them.

        Raises UntakeableRecordError; then use another.

        A careful look or, of few partitions, some of them that find nothing are enough: what lies further on is met
        again. A new consumer takes a while until it has fetched anything.
        """
        if self._careful_until is not None:
            got, letters = await self._fetch_carefully(consumer)
            if letters:
                self._careful_until = loop_seconds() + CAREFUL_SECONDS
            elif loop_seconds() >= self._careful_until:
                self._careful_until = None
            return got, letters
        try:
            return await consumer.getmany(timeout_ms=FETCH_MS, max_records=self._records_max), ()
        except UnicodeDecodeError:
            self._careful_until = loop_seconds() + CAREFUL_SECONDS
            raise UntakeableRecordError from None

    async def _fetch_carefully(self, consumer: GroupConsumer) -> tuple[Fetched, list[DeadLetter]]:
        got: dict[TopicPartition, list[ConsumerRecord]] = {}
        letters: list[DeadLetter] = []
        readable = consumer.assignment() - consumer.paused()
        if not readable:  # nothing waits in here then, and everything else in the process needs its turn
            await asyncio.sleep(FETCH_CAREFULLY_MS / 1000)
        for partition in readable:
            messages = got[partition] = []
            while len(messages) < self._records_max:
                try:
                    found = await consumer.getmany(partition, timeout_ms=FETCH_CAREFULLY_MS, max_records=1)
                except UnicodeDecodeError:
                    first = await consumer.position(partition)
                    unpacked = await fetch_unpacked(consumer, partition, first, self._records_max - len(messages))
                    messages += unpacked.messages
                    if unpacked.odd is not None:
                        letters.append(letter_of(partition, unpacked.odd))
                    consumer.seek(partition, unpacked.next_offset)
                    break
                if not found:
                    break
                messages += found[partition]
        return {partition: messages for partition, messages in got.items() if messages}, letters


def record_of(message: ConsumerRecord) -> Record:
    """Return a consumed message as a record. One with a timestamp that is no time is very old: see `records_of`."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        tuple((name, value or b"") for name, value in message.headers),  # Kafka lets a value be null
        _time_of(message.timestamp) or _VERY_OLD,
    )


def records_of(messages: Iterable[ConsumerRecord]) -> tuple[list[Record], list[DeadLetter]]:
    """Return all messages as records, and dead letters of those among them whose timestamp is no time."""
    records, letters = [], []
    for message in messages:
        record = record_of(message)
        records.append(record)
        if _time_of(message.timestamp) is None:
            letters.append(DeadLetter(record, "off_contract", _NO_TIME))
    return records, letters


def _time_of(timestamp: int) -> datetime | None:
    """Return the time; None for a number that is none. Where the topic has CreateTime, a producer may write any."""
    try:
        return datetime.fromtimestamp(timestamp / 1000, UTC) if timestamp >= 0 else None
    except (ValueError, OverflowError, OSError):
        return None


def letter_of(partition: TopicPartition, odd: Odd) -> DeadLetter:
    """Return the dead letter of a record that cannot be taken apart."""
    appended_at = _time_of(odd.timestamp) or _VERY_OLD
    nothing = Record(partition.topic, partition.partition, odd.offset, None, None, (), appended_at)
    return DeadLetter(nothing, "off_contract", _NO_TEXT, has_content=False)
