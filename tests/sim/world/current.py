"""The one world that is being simulated: what a stand-in belongs to that the runtime's own code constructs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sim.world.world import World

_worlds: list[World] = []


def current() -> World:
    """Return the world that is being simulated."""
    return _worlds[-1]


def enter(world: World) -> None:
    """Let stand-ins be made in this world."""
    _worlds.append(world)


def leave() -> None:
    """Let stand-ins be made in the world before it."""
    _worlds.pop()
