"""Records that aiokafka cannot take apart, on real Kafka: exactly they become dead letters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from countersign.runtime.consuming.unpacking import fetch_unpacked
from tests.support.frame import running
from tests.support.hostile import publish_in_one_batch
from tests.support.kafka import eventually
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

GAP = 10_000


async def test_records_in_the_batch_of_a_hostile_one_are_folded(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker gives a batch whole, so that aiokafka raises for each of its records."""
    toy = await a_toy(servers, partitions=1)
    with monkeypatch.context() as patched:
        await publish_in_one_batch(servers.kafka, [toy.added() for _ in range(8)], (2, 5), patched)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "addition", 6), within=60)
        await eventually(lambda: _counted(toy, "dead_letter", 2), within=60)
    assert [row["offset"] for row in await toy.fetch('SELECT "offset" FROM dead_letter ORDER BY 1')] == [2, 5]


async def test_a_hostile_record_behind_a_gap_is_one_dead_letter(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a compacted topic: what was compacted away is no record that anybody could miss."""
    toy = await a_toy(servers, partitions=1)
    await _compact(toy)
    producer = AIOKafkaProducer(bootstrap_servers=servers.kafka)
    await producer.start()
    try:
        first, last = toy.added("first"), toy.added("last")
        await producer.send_and_wait(toy.topic, first.value, key=first.key, headers=list(first.headers))
        acks = [await producer.send(toy.topic, b"x" * 200, key=b"again") for _ in range(GAP)]
        await asyncio.gather(*acks)
        with monkeypatch.context() as patched:
            await publish_in_one_batch(servers.kafka, [toy.added("hostile")], (0,), patched)
        await asyncio.sleep(0.2)  # a segment of its own: the newest is never compacted
        await producer.send_and_wait(toy.topic, b"y", key=b"again")
        await asyncio.sleep(0.2)
        await producer.send_and_wait(toy.topic, last.value, key=last.key, headers=list(last.headers))
    finally:
        await producer.stop()
    await _compacted(toy)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "addition", 2), within=60)
    letters = await toy.fetch("SELECT \"offset\" FROM dead_letter WHERE cause LIKE 'header: a name%'")
    assert [row["offset"] for row in letters] == [GAP + 1]


async def _compact(toy: Toy) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=toy.servers.kafka)
    await admin.start()
    wanted = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001"}
    wanted |= {"max.compaction.lag.ms": "100", "message.timestamp.type": "LogAppendTime"}
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, toy.topic, wanted)])
    finally:
        await admin.close()


async def _compacted(toy: Toy) -> None:
    """Wait until the gap is there: the broker's cleaner looks every 15 s."""
    consumer = AIOKafkaConsumer(toy.topic, bootstrap_servers=toy.servers.kafka)
    await consumer.start()
    try:

        async def is_gap() -> bool:
            unpacked = await fetch_unpacked(consumer, TopicPartition(toy.topic, 0), 1, GAP)
            return unpacked.odd is not None and not unpacked.messages

        await eventually(is_gap, within=120)
    finally:
        await consumer.stop()


async def _counted(toy: Toy, table: str, count: int) -> bool:
    return await toy.count(table) == count
