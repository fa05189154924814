"""The loop of the simulator: virtual time, one order for one seed, and processes that end between two steps."""

from __future__ import annotations

import asyncio
import itertools
from random import Random
from typing import Any

import pytest

from tests.sim.world.loop import LivelockError, Scheduler


def run(seed: int, *mains: Any, until: float = 100.0) -> list[tuple[float, str]]:
    """Run each coroutine function as a process of its own; return what they said, and when."""
    scheduler = Scheduler(Random(seed))
    said: list[tuple[float, str]] = []
    for number, main in enumerate(mains):
        loop = scheduler.loop(str(number))
        loop.create_task(main(lambda words, loop=loop: said.append((loop.time(), f"{loop.name} {words}"))))
    try:
        scheduler.run(until, 10_000)
    finally:
        for loop in scheduler.loops:
            loop.dispose()
    return said


async def three_steps(say: Any) -> None:
    for step in range(3):
        await asyncio.sleep(1)
        say(str(step))


def test_time_jumps_to_the_next_timer() -> None:
    """Three sleeps of a second take no time, and end at one, two and three seconds."""
    assert run(1, three_steps) == [(1.0, "0 0"), (2.0, "0 1"), (3.0, "0 2")]


def test_one_seed_gives_one_order_and_seeds_differ() -> None:
    """Which of two processes goes first at the same time is drawn."""
    orders = [tuple(run(seed, three_steps, three_steps)) for seed in range(20)]
    assert orders == [tuple(run(seed, three_steps, three_steps)) for seed in range(20)]
    assert len(set(orders)) > 1


def test_asyncio_works_on_it_as_on_any_other_loop() -> None:
    """Task groups, time-outs, queues, locks, events and gather."""
    got: list[object] = []

    async def main(_say: Any) -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        lock, event = asyncio.Lock(), asyncio.Event()

        async def put(number: int) -> int:
            async with lock:
                await asyncio.sleep(0.5)
                await queue.put(number)
            event.set()
            return number

        async with asyncio.TaskGroup() as group:
            group.create_task(put(1))
            got.append(await asyncio.gather(put(2), put(3)))
            await event.wait()
        got.append([queue.get_nowait() for _ in range(3)])
        try:
            async with asyncio.timeout(2):
                await asyncio.sleep(60)
        except TimeoutError:
            got.append("timed out")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(60))
                {}["missing"]
        except* KeyError:
            got.append("group ended")

    run(3, main)
    assert got == [[2, 3], [1, 2, 3], "timed out", "group ended"]


def test_a_killed_process_does_nothing_more() -> None:
    """Neither what it waited for nor its `finally` has an effect; the other one goes on."""
    scheduler = Scheduler(Random(1))
    one, other, world = (scheduler.loop(name) for name in ("one", "other", "world"))
    done: list[str] = []

    async def main(name: str) -> None:
        try:
            await asyncio.sleep(2)
            done.append(name)
        finally:
            await asyncio.sleep(0)
            done.append(f"{name} ended")

    one.create_task(main("one"))
    other.create_task(main("other"))
    world.call_later(1, one.kill)
    scheduler.run(10, 1000)
    one.dispose()
    assert done == ["other", "other ended"]
    assert other.pending() == []


def test_running_in_circles_ends_with_an_error() -> None:
    """A loop in which time stands still is a livelock and not a hang."""

    async def main(_say: Any) -> None:
        for _ in itertools.repeat(None):
            await asyncio.sleep(0)

    with pytest.raises(LivelockError):
        run(1, main)
