"""Ours and the bare loop in turns, so that a slow minute of the machine meets both."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Found: TypeAlias = dict[str, float]

TURNS = 3


async def in_turns(measure: Callable[[int, bool], Awaitable[Found]]) -> tuple[Found, Found]:
    """Call `measure(turn, bare)` for ours and the bare loop alternately; return the middle of each figure of both."""
    found: dict[bool, list[Found]] = {False: [], True: []}
    for turn in range(TURNS):
        for bare in (False, True):
            found[bare].append(await measure(turn, bare))
    ours, bare_ones = (_middle(found[bare]) for bare in (False, True))
    return ours, bare_ones


def _middle(found: list[Found]) -> Found:
    return {name: median(one[name] for one in found) for name in found[0]}
