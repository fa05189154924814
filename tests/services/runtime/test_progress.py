"""What a worker says of its progress, which the watchdog ends processes by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from countersign.runtime.consuming.consumer import Worker
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers


async def test_a_batch_from_before_a_rebalance_says_nothing_of_progress(servers: Servers) -> None:
    """A worker that slept over a rebalance goes on with the batch it has; what others folded meanwhile is no lag."""
    toy = await a_toy(servers)
    await publish(toy.servers.kafka, *(toy.added() for _ in range(80)))
    fetched, awake = asyncio.Event(), asyncio.Event()

    async def sleep(name: str) -> None:
        if name == "fetched":
            fetched.set()
            await awake.wait()

    async with running(toy.service(), toy.settings("sleeper"), checkpoint=sleep) as sleeper:
        await fetched.wait()
        async with running(toy.service(), toy.settings("other")) as other:
            await eventually(lambda: _is(len(other.lanes[0].worker.done), 2), within=30)
            await asyncio.sleep(1.5)  # offsets are committed once a second
        worker = sleeper.lanes[0].worker
        await eventually(lambda: _is(_assigned(worker), 4), within=30)
        awake.set()
        await eventually(lambda: _is_all(toy.count(), 80))
        await asyncio.sleep(1)
        assert worker.consumer is not None
        ends = await worker.consumer.end_offsets(list(worker.consumer.assignment()))
        assert {partition: at for partition, at in worker.done.items() if at != ends[partition]} == {}


async def test_what_comes_right_after_a_rebalance_is_committed(servers: Servers) -> None:
    """A worker that waited for records all through a rebalance commits what ends its wait: there is no lag."""
    toy = await a_toy(servers)
    producer = AIOKafkaProducer(bootstrap_servers=toy.servers.kafka)
    await producer.start()
    try:
        async with running(toy.service(), toy.settings("first")) as first, asyncio.TaskGroup() as group:
            worker = first.lanes[0].worker
            await producer.partitions_for(toy.topic)
            await eventually(lambda: _is(_assigned(worker), 4))
            group.create_task(_publish_when_fewer(worker, producer, toy))
            async with running(toy.service(), toy.settings("second")):
                await eventually(lambda: _is_all(toy.count(), 4))
                await eventually(lambda: _is_all(toy.committed(), {toy.topic: 4}))
    finally:
        await producer.stop()


def _assigned(worker: Worker) -> int:
    return len(worker.consumer.assignment()) if worker.consumer else 0


async def _publish_when_fewer(worker: Worker, producer: AIOKafkaProducer, toy: Toy) -> None:
    """Put a record on each partition the moment that the first member has lost some of its own."""
    while _assigned(worker) != 2:  # noqa: ASYNC110 - the very moment counts
        await asyncio.sleep(0)
    acks = []
    for partition in range(4):
        row = toy.added()
        ack = await producer.send(toy.topic, row.value, key=row.key, headers=list(row.headers), partition=partition)
        acks.append(ack)
    await asyncio.gather(*acks)


async def _is(count: int, wanted: int) -> bool:
    return count == wanted


async def _is_all(counting: object, wanted: object) -> bool:
    return await counting == wanted  # type: ignore[misc, no-any-return]
