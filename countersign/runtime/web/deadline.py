"""Deadlines that count only while the process runs.

A process that was stopped (SIGSTOP, a paused container, a suspended machine) meets its timers before it has read what
lies in its sockets. Whoever sent in time is then not told that they were late.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

OVERSLEPT_SECONDS = 1.0  # ours: a deadline met later than this was met by a process that did not run


class Deadline:
    """Calls `then` after `seconds`; if the process did not run then, OVERSLEPT_SECONDS after it runs again."""

    __slots__ = ("_handle", "_loop", "_then")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._set(seconds)

    def cancel(self) -> None:
        """Never call it."""
        self._handle.cancel()

    def _set(self, seconds: float) -> None:
        due = self._loop.time() + seconds
        self._handle = self._loop.call_at(due, self._met, due)

    def _met(self, due: float) -> None:
        if self._loop.time() - due > OVERSLEPT_SECONDS:
            self._set(OVERSLEPT_SECONDS)
        else:
            self._then()


@asynccontextmanager
async def awake_timeout(seconds: float) -> AsyncIterator[None]:
    """Do as asyncio.timeout does, but count only while the process runs. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        deadline = Deadline(loop, seconds, lambda: limit.reschedule(loop.time()))
        try:
            yield
        finally:
            deadline.cancel()
