"""Waiting a little until another service has caught up with what was done here, so that the next page shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SECONDS_MAX = 3.0  # chosen: others read what was published in a fraction of a second; a page is not held for longer
_LOOK_SECONDS = 0.1


async def until(is_done: Callable[[], Awaitable[bool]]) -> None:
    """Look until it is done, for `SECONDS_MAX` at most; the page then shows what is the case."""
    for _ in range(int(SECONDS_MAX / _LOOK_SECONDS)):
        if await is_done():
            return
        await asyncio.sleep(_LOOK_SECONDS)
