"""Consumers whose broker answers nothing more are closed completely."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import ConsumerRebalanceListener

from countersign.runtime.broker import closing
from countersign.runtime.consuming.membership import Member
from countersign.runtime.settings import KafkaSettings
from tests.support.breakable import breakable

if TYPE_CHECKING:
    from countersign.runtime.consuming.membership import GroupConsumer

HICCUPS = 50
TOPIC = "access.requests.v1"


def _sockets() -> int:
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += entry.readlink().as_posix().startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def _owner(task: asyncio.Task[Any]) -> object | None:
    """Return the object whose method the task runs."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return None if frame is None else frame.f_locals.get("self")


class _Nobody(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Listens to no rebalance."""

    async def on_partitions_revoked(self, revoked: object) -> None:
        """Do nothing."""

    async def on_partitions_assigned(self, assigned: object) -> None:
        """Do nothing."""


@pytest.mark.servers
async def test_fifty_consumers_of_a_frozen_broker_leave_no_task_and_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were joining their group again when it froze: their own stop waits for an answer."""
    monkeypatch.setattr(closing, "STOP_SECONDS_MAX", 0.5)
    async with breakable() as broken:
        settings = KafkaSettings(bootstrap_servers=broken.servers.kafka)
        tasks, sockets = asyncio.all_tasks(), _sockets()
        others = {id(owner) for owner in map(_owner, tasks) if owner is not None}
        consumers: list[GroupConsumer] = []
        for number in range(HICCUPS):
            consumer = Member.of(f"closing-{number}", "0").open_consumer(settings)
            consumer.subscribe([TOPIC], listener=_Nobody())
            consumers.append(consumer)
        for start in range(0, HICCUPS, 10):
            await asyncio.gather(*(consumer.start() for consumer in consumers[start : start + 10]))
        broken.pause("kafka")
        for consumer in consumers:
            consumer.subscribe([TOPIC], listener=_Nobody())
        await asyncio.sleep(0.5)
        await asyncio.gather(*(closing.close_consumer(consumer) for consumer in consumers))
        await asyncio.sleep(0.2)
        # Services of other tests run in this loop too, and begin tasks all the time.
        left = {task for task in asyncio.all_tasks() - tasks if id(_owner(task)) not in others}
        assert sorted(task.get_coro().__qualname__ for task in left) == []  # type: ignore[union-attr]
        assert _sockets() == sockets
        broken.wake("kafka")
