"""Fetching carefully: nothing else in the process waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from countersign.runtime.consuming.fetching import CAREFUL_SECONDS, Fetching, UntakeableRecordError
from tests.support.virtual_time import run_virtually


class _AllPaused:
    """A consumer that met an odd record, and whose partitions the brake holds by now."""

    async def getmany(self, *_: object, **__: object) -> Any:
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    def assignment(self) -> frozenset[Any]:
        return frozenset()

    def paused(self) -> frozenset[Any]:
        return frozenset()


def test_a_careful_look_at_nothing_lets_others_have_their_turn() -> None:
    """With every partition paused there is nothing to wait for in it: it ran in circles for two seconds."""
    looks, turns = 0, 0

    async def main() -> None:
        nonlocal looks
        fetching: Any = Fetching(10)
        with pytest.raises(UntakeableRecordError):
            await fetching.fetch(_AllPaused())
        other = asyncio.ensure_future(take_turns())
        until = asyncio.get_running_loop().time() + CAREFUL_SECONDS / 2
        while asyncio.get_running_loop().time() < until and looks < 1000:
            looks += 1
            assert await fetching.fetch(_AllPaused()) == ({}, [])
        other.cancel()

    async def take_turns() -> None:
        nonlocal turns
        for _ in range(100):
            await asyncio.sleep(0.05)
            turns += 1

    run_virtually(main())
    assert looks < 100
    assert turns > 5
