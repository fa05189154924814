"""The end of aiokafka's clients: bounded, since one that was interrupted in the middle of a fetch may wait for ever."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

STOP_SECONDS_MAX = 5.0  # ours: what has not ended by then does not end


async def stop_clients(*stops: Callable[[], Awaitable[Any]]) -> None:
    """Call each stop in turn and wait for it, for so long at most; whatever goes wrong is passed over."""
    for stop in stops:
        with suppress(Exception):
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await stop()


async def close_client(client: Any) -> None:
    """Stop a consumer."""
    await stop_clients(client.stop)
