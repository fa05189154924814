"""What a worker says of its progress, which the watchdog ends processes by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers

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
            assert other.worker is not None
            await eventually(lambda: _is(len(other.worker.done), 2), within=30)
            await asyncio.sleep(1.5)  # offsets are committed once a second
        worker = sleeper.worker
        assert worker is not None
        assert worker.consumer is not None
        await eventually(lambda: _is(len(worker.consumer.assignment()), 4), within=30)
        awake.set()
        await eventually(lambda: _is_all(toy.count(), 80))
        await asyncio.sleep(1)
        ends = await worker.consumer.end_offsets(list(worker.consumer.assignment()))
        assert {partition: at for partition, at in worker.done.items() if at != ends[partition]} == {}


async def _is(count: int, wanted: int) -> bool:
    return count == wanted


async def _is_all(counting: object, wanted: int) -> bool:
    return await counting == wanted  # type: ignore[misc, no-any-return]
