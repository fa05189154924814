"""Few wait for one challenge, and they take turns."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from services.verifier.crowd import WAITING_MAX, Crowd, CrowdedError


async def test_eight_wait_the_ninth_is_turned_away_and_others_pass() -> None:
    """A flood on one challenge is told so at once; another challenge has a door of its own."""
    crowd, challenge, another = Crowd(), uuid4(), uuid4()
    free = asyncio.Event()
    inside = 0
    most = 0

    async def call() -> None:
        nonlocal inside, most
        async with crowd.through(challenge):
            inside += 1
            most = max(most, inside)
            await free.wait()
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(WAITING_MAX):
            group.create_task(call())
        await asyncio.sleep(0)
        with pytest.raises(CrowdedError):
            async with crowd.through(challenge):
                pass
        async with crowd.through(another):
            free.set()
    assert most == 1
    async with crowd.through(challenge):
        pass


async def test_a_call_that_fails_leaves_the_door_open() -> None:
    """Also one that is given up while it waits."""
    crowd, challenge = Crowd(1), uuid4()
    with pytest.raises(ValueError, match="ours"):
        async with crowd.through(challenge):
            raise ValueError("ours")
    async with crowd.through(challenge):
        pass
