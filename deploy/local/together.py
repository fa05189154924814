"""Several things at once: all end well, or the rest is cancelled and the first failure is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable


async def together(work: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Run all of `work` at once. Raises the first failure by itself, when the rest has ended."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures.exceptions[0].__cause__
