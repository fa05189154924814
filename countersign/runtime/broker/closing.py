"""The end of aiokafka's clients: bounded, since one that was interrupted in the middle of a fetch may wait for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

STOP_SECONDS_MAX = 5.0  # ours: what has not ended by then does not end
_CANCEL_SECONDS_MAX, _CANCEL_ROUNDS = 1.0, 3
# Where aiokafka keeps its tasks. A consumer whose stop is interrupted leaves those that it has not come to.
_TASKS = (
    ("_coordinator", ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")),
    ("_fetcher", ("_fetch_task",)),
    ("_client", ("_sync_task",)),
)


async def stop_clients(*stops: Callable[[], Awaitable[Any]]) -> None:
    """Call each stop in turn and wait for it, for so long at most; whatever goes wrong is passed over."""
    for stop in stops:
        with suppress(Exception):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await stop()


async def close_consumer(consumer: Any) -> None:
    """Stop a consumer completely: what its own stop leaves, as no broker answers, is ended by force."""
    connections = list(getattr(getattr(consumer, "_client", None), "_conns", {}).values())
    await stop_clients(consumer.stop)
    for _ in range(_CANCEL_ROUNDS):  # a task may have begun another one before it was cancelled
        if not (tasks := list(_tasks_left(consumer))):
            break
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CANCEL_SECONDS_MAX)
    connections += getattr(getattr(consumer, "_client", None), "_conns", {}).values()
    for connection in connections:
        _cut(connection)


def _tasks_left(consumer: Any) -> Iterator[asyncio.Task[Any]]:
    for part, names in _TASKS:
        owner = getattr(consumer, part, None)
        found = [getattr(owner, name, None) for name in names]
        if part == "_fetcher":
            found += getattr(owner, "_pending_tasks", ())
        yield from (task for task in found if isinstance(task, asyncio.Task) and not task.done())


def _cut(connection: Any) -> None:
    """Close a connection without waiting for what is still to be sent."""
    writer = connection._writer  # noqa: SLF001 - aiokafka's own close waits for the broker
    connection.close()
    if writer is not None:
        writer.transport.abort()
