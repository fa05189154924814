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
    """Calls `then` after `seconds`; if the process did not run then, OVERSLEPT_SECONDS after it runs again.

    It has one timer. To put it off only sets the time: the timer that is under way goes on from there when it is met.
    """

    __slots__ = ("_due", "_handle", "_loop", "_met_at", "_then")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._loop = loop
        self._then = then
        self._handle: asyncio.TimerHandle | None = None
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Let it be `seconds` from now, whatever it was before."""
        self._due = self._loop.time() + seconds
        if self._handle is None or self._due < self._met_at:
            self._start()

    def cancel(self) -> None:
        """Do not call it, unless it is set again."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _start(self) -> None:
        self.cancel()
        self._met_at = self._due
        self._handle = self._loop.call_at(self._due, self._met)

    def _met(self) -> None:
        self._handle = None
        late = self._loop.time() - self._due
        if late < 0:
            self._start()
        elif late > OVERSLEPT_SECONDS:
            self.set(OVERSLEPT_SECONDS)
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
