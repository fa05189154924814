"""Groups set back to the start of everything they read, as somebody who replays would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.local.topics import topics
from tests.support.world import READ_BY

if TYPE_CHECKING:
    from collections.abc import Iterable

# A static member that has ended is a member for one session more, and a group with members takes no offsets of others.
_EMPTY_WITHIN = 60.0


async def set_back(bootstrap: str, services: Iterable[str] = READ_BY) -> None:
    """Commit offset 0 for every partition that these services read. They have ended before."""
    async with asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(_set_back(bootstrap, service))


async def _set_back(bootstrap: str, service: str) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=f"countersign.{service}", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [
            TopicPartition(topic.name, number)
            for topic in topics()
            if topic.name in READ_BY[service]
            for number in range(topic.partitions)
        ]
        consumer.assign(places)
        async with asyncio.timeout(_EMPTY_WITHIN):
            while not await _commit(consumer, dict.fromkeys(places, 0)):  # noqa: ASYNC110 - the broker sets no event
                await asyncio.sleep(0.5)
    finally:
        await consumer.stop()


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> bool:
    try:
        await consumer.commit(offsets)
    except KafkaError:
        return False
    return True
