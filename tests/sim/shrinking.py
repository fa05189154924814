"""Finds a smaller schedule that fails in the same way: steps are left out while it still does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.sim.run import run

if TYPE_CHECKING:
    from tests.sim.schedules import Schedule


def shrunk(schedule: Schedule) -> Schedule:
    """Return the schedule with as few steps as are needed to fail with the same kind of finding."""
    kinds = _kinds(schedule)
    if not kinds:
        return schedule
    size = max(1, len(schedule.steps) // 2)
    while size:
        start = 0
        while start < len(schedule.steps):
            less = replace(schedule, steps=(*schedule.steps[:start], *schedule.steps[start + size :]))
            if kinds & _kinds(less):
                schedule = less
            else:
                start += size
        size //= 2
    return schedule


def _kinds(schedule: Schedule) -> set[str]:
    return {finding.partition(":")[0] for finding in run(schedule).findings}
