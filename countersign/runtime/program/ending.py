"""A process ends within a bounded time, also if PostgreSQL or Kafka does not answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from countersign.clock import loop_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import structlog

# chosen: as long as a text may be on its way to SNS; with what follows below the 30 s after which Kubernetes kills.
# Leases free what is left behind; a text that was sent and is not settled counts as unknown.
END_SECONDS_MAX = 20.0
PART_SECONDS_MIN = 1.0
CANCELLED_SECONDS_MAX = 1.0


class Ending:
    """Waits for the parts of a process, one after the other, until its time is over."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger, cut: Callable[[], None]) -> None:
        self._log = log
        self._cut = cut
        self._until = loop_seconds() + END_SECONDS_MAX

    async def wait_for(self, part: str, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for tasks that were told to stop. Those that do not are cancelled, their connections cut."""
        if not tasks:
            return
        left = self._until - loop_seconds()
        _, running = await asyncio.wait(tasks, timeout=max(left, PART_SECONDS_MIN))
        if running:
            self._log.error("end_left_behind", part=part, reason="a server does not answer; its leases free the work")
            self._cut()
            for task in running:
                task.cancel()
            await asyncio.wait(running, timeout=CANCELLED_SECONDS_MAX)
