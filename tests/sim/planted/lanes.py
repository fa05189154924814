"""Faults that two lanes may bring: each is put into the one worker that reads all topics, so that it is found there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from countersign.runtime.consuming.brakes import Brakes
from countersign.runtime.consuming.fetching import Fetching
from countersign.runtime.due_work.due import DueLoop
from countersign.runtime.program.ending import Ending

if TYPE_CHECKING:
    from collections.abc import Sequence


def share_subject() -> None:
    """All due work tells of one subject of health: who is well says so for who is not."""
    begin = DueLoop.__init__

    def faulty(self: DueLoop, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self._part = "postgres.due"

    DueLoop.__init__ = faulty  # type: ignore[method-assign]


def know_release_twice() -> None:
    """Who is told of a release does not forget the brake at once, and tells of it again."""
    let_go = Brakes._let_go

    def faulty(self: Brakes, *args: Any) -> None:
        hold = self._held[partition := args[-1]]
        let_go(self, *args)
        self._held[partition] = hold
        let_go(self, *args)

    Brakes._let_go = faulty  # type: ignore[method-assign]


def end_without_worker() -> None:
    """The end does not wait for a worker, which commits after the publisher has ended."""
    wait_for = Ending.wait_for

    async def faulty(self: Ending, part: str, tasks: Sequence[asyncio.Task[Any]]) -> None:
        if not part.startswith("worker"):
            await wait_for(self, part, tasks)

    Ending.wait_for = faulty  # type: ignore[method-assign]


def lie_everywhere() -> None:
    """How long events of one topic may lie is waited for with every fetch, of whatever topic."""
    fetch = Fetching.fetch

    async def faulty(self: Fetching, consumer: Any) -> Any:
        await asyncio.sleep(3)
        return await fetch(self, consumer)

    Fetching.fetch = faulty  # type: ignore[method-assign]
