"""Offsets by time, as Kafka's index of append times tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from aiokafka import TopicPartition


async def offsets_at(
    consumer: Any, partitions: Collection[TopicPartition], moment: datetime
) -> dict[TopicPartition, int]:
    """Return the first offset that was appended at `moment` or later, of each partition; else its end.

    `consumer` is aiokafka's. Raises KafkaError.
    """
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, int(moment.timestamp() * 1000)))
    ends: dict[TopicPartition, int] = await consumer.end_offsets(list(partitions))
    return {one: ends[one] if found.get(one) is None else found[one].offset for one in partitions}
