"""Wakes whoever looks now and then."""

from __future__ import annotations

import asyncio


class Waker:
    """Wakes due work at once, instead of at its next look."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Say that something became due."""
        self._event.set()

    async def wait(self, seconds: float) -> None:
        """Return when woken, or after that many seconds."""
        timer = asyncio.get_running_loop().call_later(seconds, self._event.set)
        try:
            await self._event.wait()
        finally:
            timer.cancel()
        self._event.clear()
