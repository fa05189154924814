"""Deadlines that are put off, brought forward and ended, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from countersign.runtime.web.deadline import Deadline
from tests.support.virtual_time import run_virtually


def met_at(*steps: tuple[float, float | None]) -> list[float]:
    """Return when a deadline of 10 s is met that at each of these times is set anew, or ended."""

    async def until_noon() -> list[float]:
        loop, met = asyncio.get_running_loop(), list[float]()
        began = loop.time()
        deadline = Deadline(loop, 10.0, lambda: met.append(loop.time() - began))
        for at, seconds in steps:
            await asyncio.sleep(began + at - loop.time())
            if seconds is None:
                deadline.cancel()
            else:
                deadline.set(seconds)
        await asyncio.sleep(1_000)
        return met

    return run_virtually(until_noon())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), [10]),
        (((4, 30),), [34]),
        (((4, 3),), [7]),
        (((4, 30), (8, 10)), [18]),
        (((4, 30), (12, 10)), [22]),
        (((4, 30), (12, 75), (40, 5)), [45]),
        (((4, None),), []),
        (((4, None), (20, 10)), [30]),
        (((20, 10),), [10, 30]),
    ],
)
def test_the_last_time_that_was_set_counts(
    steps: tuple[tuple[float, float | None], ...], expected: list[float]
) -> None:
    """Later or earlier than before, also after it was met or ended; never twice."""
    assert met_at(*steps) == pytest.approx(expected)
