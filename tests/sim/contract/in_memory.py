"""Finds the cases of a contract, and runs one in a world of its own."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from tests.sim.world import current
from tests.sim.world.patches import patched
from tests.sim.world.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import ModuleType

SECONDS_MAX = 120.0


def cases_of(module: ModuleType) -> list[Any]:
    """Return every public coroutine function that the module defines, so that none can be forgotten."""
    found = [each for each in vars(module).values() if iscoroutinefunction(each) and each.__module__ == module.__name__]
    return [case for case in found if not case.__name__.startswith("_")]


def run_in_memory(case: Callable[[], Coroutine[Any, Any, None]], seed: int = 1) -> None:
    """Run it to its end, and raise what it raised."""
    world = World(seed)
    current.enter(world)
    try:
        with patched():
            loop = world.scheduler.loop("case")
            task = loop.create_task(case())
            task.add_done_callback(lambda _task: world.scheduler.stop())
            world.scheduler.run(SECONDS_MAX, 100_000)
            assert task.done(), "the case did not come to its end"
            task.result()
    finally:
        world.close()
        current.leave()
