"""Runs schedules, one after the other, and says what each came to."""

from __future__ import annotations

import gc
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from tests.sim.acting import Stage
from tests.sim.invariants.lanes import Lanes
from tests.sim.invariants.rest import Watching, at_rest, check_end, check_rest
from tests.sim.schedules import PARTITIONS, draw
from tests.sim.world import current
from tests.sim.world.loop import LivelockError, StuckError
from tests.sim.world.patches import patched
from tests.sim.world.process import END_SECONDS_MAX, Process
from tests.sim.world.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sim.schedules import Schedule

STEPS_MAX = 60_000
REST_SECONDS_MAX = 150.0
LOOK_SECONDS = 1.0
GARBAGE_SCHEDULES = 20  # more fit into no cache of a processor
_runs = count(1)  # and not the seed: of several processes some have odd ones alone
STUCK_SECONDS = 10.0  # a whole schedule takes some hundredths


@dataclass(slots=True)
class Outcome:
    """What one schedule came to. `findings` are the invariants that did not hold.

    `trace` is what happened, if there are findings or if it was asked for.
    """

    schedule: Schedule
    findings: list[str]
    trace: list[str]
    seconds: float
    steps: int


def run(schedule: Schedule, *, is_traced: bool = False) -> Outcome:
    """Run one schedule. Call it in `patched()`."""
    world = World(schedule.seed, PARTITIONS)
    current.enter(world)
    try:
        with _ended_when_stuck():
            _play(world, schedule)
        trace = _lines(world) if world.findings or is_traced else []
        return Outcome(schedule, list(world.findings), trace, world.scheduler.now, world.scheduler.steps)
    finally:
        world.close()
        current.leave()


@contextmanager
def _ended_when_stuck() -> Iterator[None]:
    """Let a callback that runs in circles fail: virtual time stands still in it, so nothing else would end it."""

    def fail(*_: object) -> None:
        raise StuckError(f"a callback took {STUCK_SECONDS:g} s of computing")

    before = signal.signal(signal.SIGVTALRM, fail)
    signal.setitimer(signal.ITIMER_VIRTUAL, STUCK_SECONDS, STUCK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _lines(world: World) -> list[str]:
    return [f"{at:8.3f} {who:10} {event} {fields or ''}".rstrip() for at, who, event, fields in world.trace]


def _play(world: World, schedule: Schedule) -> None:
    stage = Stage(world, schedule)
    watching = Watching(stage)
    Lanes(stage)
    world.act_seconds = schedule.act_seconds
    world.server.slowness = world.broker.slowness = schedule.slow_servers
    for number in range(schedule.processes):
        world.processes.append(Process(world, "abc"[number]))
        stage.wanted_again(number)
    stage.plan()
    try:
        world.scheduler.run(max(schedule.horizon, 1.0), STEPS_MAX)
        if world.findings or world.fell:
            return
        stage.heal()
        _rest(world, stage, watching)
        world.submitters.close()
        world.is_ending = True
        for process in world.processes:
            process.terminate()
        if any(process.is_up for process in world.processes):
            world.scheduler.run(world.scheduler.now + END_SECONDS_MAX + 1.0, STEPS_MAX)
        check_end(stage)
    except (LivelockError, StuckError) as error:
        world.find(f"no livelock: {error}")
    finally:
        _note_falls(world)


def _note_falls(world: World) -> None:
    for at, name, error in world.fell:
        world.find(f"no process ends by itself: {name} at {at:.3f}: {error}")


def _rest(world: World, stage: Stage, watching: Watching) -> None:
    """Wait until everything is at rest, and look at it."""
    left = ["nobody looked yet"]

    def look() -> None:
        nonlocal left
        stage.release()
        stage.redrive()
        left = at_rest(stage)
        if left:
            world.outside.call_later(LOOK_SECONDS, look)
        else:
            world.scheduler.stop()

    world.outside.call_later(LOOK_SECONDS, look)
    world.scheduler.run(world.scheduler.now + REST_SECONDS_MAX, STEPS_MAX)
    if world.findings or world.fell:
        return
    if left:
        world.find(f"at rest in {REST_SECONDS_MAX:g} s: {'; '.join(left)}")
    else:
        check_rest(stage, watching)


@contextmanager
def ready() -> Iterator[None]:
    """Let seeds be run: with the stand-ins in place, and Python's collector at rest."""
    with patched():
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            gc.unfreeze()


def run_seed(seed: int) -> Outcome:
    """Draw a schedule and run it. Garbage is collected between schedules only: within one it would have no order."""
    outcome = run(draw(seed))
    if next(_runs) % GARBAGE_SCHEDULES == 0:
        gc.collect()
    return outcome
