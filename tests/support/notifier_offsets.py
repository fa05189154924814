"""How far the notifier's group has read, and back to the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError
from aiokafka.structs import TopicPartition

from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.servers import Servers


async def rewind(servers: Servers, *topics: str) -> None:
    """Set the group back to the start, as soon as the broker takes its last member for gone."""
    consumer = _of_the_group(servers, topics)
    await consumer.start()

    async def is_set() -> bool:
        try:
            await consumer.commit(dict.fromkeys(consumer.assignment(), 0))
        except CommitFailedError:
            return False
        return True

    try:
        await eventually(is_set, within=30)
    finally:
        await consumer.stop()


async def caught_up(servers: Servers, *topics: str) -> None:
    """Wait until the group has committed all that lies on the topics."""
    consumer = _of_the_group(servers, topics)
    await consumer.start()
    try:

        async def no_lag() -> bool:
            ends = await consumer.end_offsets(consumer.assignment())
            done = {p: await consumer.committed(p) or 0 for p, end in ends.items() if end}
            return all(done.get(partition, 0) >= end for partition, end in ends.items())

        await eventually(no_lag, within=30)
    finally:
        await consumer.stop()


def _of_the_group(servers: Servers, topics: Sequence[str]) -> AIOKafkaConsumer:
    """Return a consumer that speaks for the group without joining it: it only looks at offsets, or sets them."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers.kafka, group_id="countersign.notifier", enable_auto_commit=False
    )
    consumer.assign([TopicPartition(topic, number) for topic in topics for number in range(12)])
    return consumer
