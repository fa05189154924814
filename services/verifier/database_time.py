"""The database's time for answers that anybody may ask for, without a connection for each."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

ASKED_EVERY_SECONDS = 60.0  # chosen: in between the process's own clock runs on; keys are shown for days


class DatabaseTime:
    """Tells the time by the database, which is asked once a minute at most, by one caller for all."""

    def __init__(self, ask: Callable[[], Awaitable[datetime]], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._told: tuple[datetime, float] | None = None

    async def now(self) -> datetime:
        """Return the database's time. Raises what asking raises."""
        if (found := self._known()) is not None:
            return found
        async with self._asking:
            if (found := self._known()) is not None:  # others asked while this one waited
                return found
            told = await self._ask()
            self._told = (told, self._monotonic())
            return told

    def _known(self) -> datetime | None:
        if self._told is None:
            return None
        told, at = self._told
        age = self._monotonic() - at
        return told + timedelta(seconds=age) if age < ASKED_EVERY_SECONDS else None
