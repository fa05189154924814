"""A connection to Kafka for one command: an administrator's client and a consumer that commits nothing by itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.stopping import stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.kafka import KafkaConnection

ANSWER_MS_MAX = 5_000
# Ours: 12 partitions, a fetch in hand and one on its way, stay far below 200 MB.
_PARTITION_BYTES_MAX, _FETCH_BYTES_MAX = 256 * 1024, 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cluster:
    """Clients of one cluster. `consumer` is aiokafka's; nothing is assigned to it yet."""

    admin: AIOKafkaAdminClient
    consumer: Any

    async def partitions(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic, none if there is no such topic."""
        (described,) = await self.admin.describe_topics([topic])
        return sorted(TopicPartition(topic, each["partition"]) for each in described["partitions"])


@asynccontextmanager
async def connected(kafka: KafkaConnection, group: str | None = None) -> AsyncIterator[Cluster]:
    """Connect to Kafka; `group` is whose offsets the consumer may commit.

    Raises KafkaError, OSError and TimeoutError.
    """
    shared = {
        **kafka.arguments(),
        "request_timeout_ms": ANSWER_MS_MAX,
        "metadata_max_age_ms": METADATA_AGE_MS,
    }
    admin = AIOKafkaAdminClient(**shared)
    consumer = AIOKafkaConsumer(
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=_PARTITION_BYTES_MAX,
        fetch_max_bytes=_FETCH_BYTES_MAX,
        **shared,
    )
    try:
        async with asyncio.timeout(ANSWER_MS_MAX / 1000):
            await admin.start()
            await consumer.start()
        yield Cluster(admin, consumer)
    finally:
        await stopped(consumer.stop(), admin.close())
