"""Fetching records, also around those that cannot even be taken apart.

The name of a header is UTF-8 by Kafka's protocol, and no broker looks whether it is. aiokafka raises at such a record
on every fetch, and what the same fetch brought of other partitions is lost with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from aiokafka.errors import KafkaError

from countersign.runtime.folding.dead_letter import DeadLetter
from countersign.runtime.messages.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

    Fetched: TypeAlias = Mapping[TopicPartition, Sequence[ConsumerRecord]]

FETCH_MS = 500
FETCH_CAREFULLY_MS = 100  # for each partition, of which there are dozens
_CAUSE = "header: a name that is not UTF-8; the record lies on the topic, and cannot be kept here"


class Untakeable(KafkaError):  # type: ignore[misc] # noqa: N818 - aiokafka has no types; it says what is the case
    """A fetch met a record that cannot be taken apart: begin again where records are folded, with a new consumer."""


class Fetching:
    """Fetches for one worker: all partitions at once, or carefully, one record of one partition at a time."""

    def __init__(self, records_max: int) -> None:
        self._records_max = records_max
        self._careful = False

    async def fetch(self, consumer: AIOKafkaConsumer) -> tuple[Fetched, Sequence[tuple[TopicPartition, int]]]:
        """Return records, and the places of those to be passed over behind them. Raises Untakeable, then use another.

        One careful look that finds nothing is enough: what lies further on is met again.
        """
        if self._careful:
            got, untakeable = await self._fetch_carefully(consumer)
            self._careful = bool(untakeable)
            return got, untakeable
        try:
            return await consumer.getmany(timeout_ms=FETCH_MS, max_records=self._records_max), ()
        except UnicodeDecodeError:
            self._careful = True
            raise Untakeable from None

    async def _fetch_carefully(self, consumer: AIOKafkaConsumer) -> tuple[Fetched, list[tuple[TopicPartition, int]]]:
        got: dict[TopicPartition, list[ConsumerRecord]] = {}
        untakeable: list[tuple[TopicPartition, int]] = []
        for partition in consumer.assignment() - consumer.paused():
            messages = got[partition] = []
            while len(messages) < self._records_max:
                try:
                    found = await consumer.getmany(partition, timeout_ms=FETCH_CAREFULLY_MS, max_records=1)
                except UnicodeDecodeError:
                    untakeable.append((partition, await consumer.position(partition)))
                    break
                if not found:
                    break
                messages += found[partition]
        return {partition: messages for partition, messages in got.items() if messages}, untakeable


def record_of(message: ConsumerRecord) -> Record:
    """Return a consumed message as a record."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        tuple((name, value or b"") for name, value in message.headers),  # Kafka lets a value be null
        datetime.fromtimestamp(message.timestamp / 1000, UTC),
    )


def letter_of(partition: TopicPartition, offset: int) -> DeadLetter:
    """Return the dead letter of a record that cannot be taken apart. Of its age nothing is known: it is very old."""
    nothing = Record(partition.topic, partition.partition, offset, None, None, (), datetime.fromtimestamp(0, UTC))
    return DeadLetter(nothing, "off_contract", _CAUSE)
