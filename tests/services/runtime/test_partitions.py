"""What a worker does when the partitions of its topic change while it runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tests.support.frame import running
from tests.support.kafka import eventually
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

READ_WITHIN = 15.0


async def test_records_of_added_partitions_are_read_within_seconds(servers: Servers) -> None:
    """A request may be 2 minutes old: partitions are found long before, also after all members were restarted."""
    toy = await a_toy(servers, partitions=2)
    async with AsyncExitStack() as first, AsyncExitStack() as again:
        for name in ("a", "b"):
            await first.enter_async_context(running(toy.service(), toy.settings(name)))
        await first.aclose()
        for name in ("a", "b"):
            await again.enter_async_context(running(toy.service(), toy.settings(name)))
        await _add(toy, 4)
        for partition in (2, 3):
            await _put(toy, partition)
        await eventually(lambda: _counts(toy, 2), within=READ_WITHIN)


async def _add(toy: Toy, wanted: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=toy.servers.kafka)
    await admin.start()
    try:
        await admin.create_partitions({toy.topic: NewPartitions(wanted)})
    finally:
        await admin.close()


async def _put(toy: Toy, partition: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=toy.servers.kafka)
    await producer.start()
    try:
        row = toy.added()
        async with asyncio.timeout(10):
            await producer.send_and_wait(
                toy.topic, row.value, key=row.key, headers=list(row.headers), partition=partition
            )
    finally:
        await producer.stop()


async def _counts(toy: Toy, wanted: int) -> bool:
    return await toy.count() == wanted
