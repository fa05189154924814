"""What the runtime takes apart itself around a record that aiokafka cannot take apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.errors import LeaderNotAvailableError

from countersign.runtime.consuming.unpacking import Odd, Unpacked
from tests.sim.broker.consumer import as_consumed

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from tests.sim.broker.consumer import SimConsumer


async def fetch_unpacked(consumer: SimConsumer, partition: TopicPartition, first: int, most: int) -> Unpacked:
    """Stand in for the runtime's own function: records up to one that is odd, each with its own offset."""
    client = consumer._client
    if client.cluster.leader_for_partition(partition) == -1:
        raise LeaderNotAvailableError(partition)
    await client.request()
    log, found = client.broker.log(partition), Unpacked(first)
    for held in log.records[log.after(first) :]:
        if held.is_unreadable:
            found.odd, found.next_offset = Odd(held.offset, held.timestamp), held.offset
            return found
        if len(found.messages) == most:
            return found
        found.messages.append(as_consumed(partition, held))
        found.next_offset = held.offset + 1
    return found
