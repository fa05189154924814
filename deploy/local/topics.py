"""Topics as `schemas/topics/*.yaml` describe them, with one copy of each: the local stack has one broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient

from countersign.contract.topic_files import topic_files
from countersign.metadata_age import METADATA_AGE_MS
from countersign.operations.topics import Topics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.broker.kafka import KafkaConnection


@dataclass(frozen=True, slots=True)
class Topic:
    """What the broker is told of a topic's file."""

    name: str
    partitions: int
    config: Mapping[str, str]


def topics() -> list[Topic]:
    """Return all topics, in the order of their files."""
    return [Topic(one.topic, one.partitions, one.config) for one in topic_files()]


async def make_topics(kafka: KafkaConnection) -> list[str]:
    """Make the topics that are not there yet, and return their names."""
    admin = AIOKafkaAdminClient(**kafka.arguments(), request_timeout_ms=20_000, metadata_max_age_ms=METADATA_AGE_MS)
    await admin.start()
    try:
        return await Topics(admin).create(topic_files(), replication=1)
    finally:
        await admin.close()
