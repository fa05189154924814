"""Whoever asks for the published keys takes no connection: the database tells the time once a minute."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from services.verifier.database_time import ASKED_EVERY_SECONDS, DatabaseTime

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Database:
    """Tells the time and counts who asks."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.asked = 0
        self._monotonic = monotonic

    async def now(self) -> datetime:
        self.asked += 1
        await asyncio.sleep(0)
        return NOON + timedelta(seconds=self._monotonic())


async def test_a_thousand_callers_ask_the_database_once() -> None:
    """At once, one after the other, and again only when what was told is old."""
    seconds = 0.0

    def monotonic() -> float:
        return seconds

    database = Database(monotonic)
    time = DatabaseTime(database.now, monotonic)
    assert set(await asyncio.gather(*(time.now() for _ in range(1000)))) == {NOON}
    seconds = ASKED_EVERY_SECONDS - 1
    assert await time.now() == NOON + timedelta(seconds=seconds)
    assert database.asked == 1
    seconds = ASKED_EVERY_SECONDS
    assert await time.now() == NOON + timedelta(seconds=seconds)
    assert database.asked == 2
