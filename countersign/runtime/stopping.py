"""Ends of aiokafka's clients: bounded, since one that was interrupted in the middle of a fetch may wait for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable

STOP_SECONDS_MAX = 5.0  # ours: a client that reads without a group has nothing to say good-bye to


async def stopped(*ends: Awaitable[Any]) -> None:
    """Wait for each end in turn, for so long at most; what goes wrong at an end is of no interest to anybody."""
    for end in ends:
        with suppress(Exception):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await end
