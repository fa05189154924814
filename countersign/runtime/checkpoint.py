"""Named points between two steps of the work. They do nothing unless the wiring of a test puts something there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Checkpoint = Callable[[str], Awaitable[None]]


async def nothing(_name: str) -> None:
    """Pass through: what every shipped process has at its checkpoints."""
