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
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
