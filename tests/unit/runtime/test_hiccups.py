"""Consumers that are given up are closed, with everything that anybody asked them."""

from __future__ import annotations

import asyncio

from aiokafka.errors import KafkaConnectionError

from tests.support.scripted_worker import Scripted, at
from tests.support.virtual_time import run_virtually


def test_fifty_hiccups_leave_one_consumer_and_no_question() -> None:
    """The watchdog was asking each of them; an answer that comes later has nobody to close its connection."""

    async def story() -> None:
        scripted = Scripted()
        async with scripted.running():
            await asyncio.sleep(10)
            tasks = len(asyncio.all_tasks())
            for count in range(1, 51):
                consumer = scripted.consumer
                consumer.answers.clear()
                while not consumer.asked:  # noqa: ASYNC110 - in virtual time
                    await asyncio.sleep(0.1)
                consumer.failing = KafkaConnectionError()
                while len(scripted.consumers) == count:  # noqa: ASYNC110 - in virtual time
                    await asyncio.sleep(0.1)
            scripted.log.append(0, b"")
            await asyncio.sleep(10)
            *gone, last = scripted.consumers
            assert len(gone) == 50
            assert all(consumer.closed and not consumer.asked_when_closed for consumer in gone)
            assert not last.closed
            assert len(asyncio.all_tasks()) == tasks
            assert scripted.log.committed == {at(0): 1}

    run_virtually(story())
