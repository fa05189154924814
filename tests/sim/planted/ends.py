"""Faults that due work and the end of a process once had, put back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from countersign.runtime.due_work.due import DueLoop
from countersign.runtime.program.ending import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence


def tell_early() -> None:
    """Due work is counted and logged inside the transaction that may still fail."""

    async def faulty(self: DueLoop, done: Sequence[object]) -> None:
        async with self._settling.use() as db, db.transaction():
            settled = await self._due.settle(db, done)
            self._due.committed(settled.done)
        await self._checkpoint(f"{self._due.name}.settled")
        self._publisher.hand(settled.due)

    DueLoop._settle_once = faulty  # type: ignore[method-assign]


def end_never() -> None:
    """SIGTERM waits for everything in hand, also while PostgreSQL is away."""

    async def faulty(_self: Ending, _part: str, tasks: Sequence[asyncio.Task[Any]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self: DueLoop) -> None:
        self._stopping = True
        self._due.waker.wake()

    Ending.wait_for = faulty  # type: ignore[method-assign]
    DueLoop.stop = stop  # type: ignore[method-assign]
