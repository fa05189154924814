"""What must hold between folds that may be read apart from each other, each by a worker of its own: a lane.

It holds for one worker that reads all topics as well. Whether there are lanes is told by what the consumers read.
"""

from __future__ import annotations

import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from countersign.runtime.watching.health import Health
from tests.sim.schedules import FAULTS
from tests.sim.world.current import current
from tests.sim.world.events import TOPICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sim.acting import Stage
    from tests.sim.world.loop import SimLoop
    from tests.sim.world.process import Process
    from tests.sim.world.world import World

# Ours: twice what is needed where nothing is wrong, with servers that are so many times as slow as they may be.
FOLDED_SECONDS_MAX, FOLDED_SECONDS_MAX_EACH = 2.0, 0.1


_tell = Health.tell  # found once: this is told very often


class WatchedHealth(Health):
    """Stands in for the runtime's own, and looks who tells what: two of a kind would overwrite each other."""

    def __init__(self) -> None:
        super().__init__()
        self._tellers: dict[tuple[str, type[Any]], Any] = {}

    def tell(self, name: str, reason: str | None) -> None:
        if reason is not None or name in self._reasons:  # else nothing changes, and frames take long to look into
            teller = sys._getframe(1).f_locals.get("self")
            if self._tellers.setdefault((name, type(teller)), teller) is not teller:
                current().find(f"one voice for each subject of health: two of {type(teller).__name__} tell of {name}")
        _tell(self, name, reason)


class Lanes:
    """Looks whether the trouble of one topic stays its own, while things happen."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.world = stage.world
        self.world.server.events_folded = self._folded
        self.world.on_ended = partial(_check_ended, stage)
        self._seconds_max = FOLDED_SECONDS_MAX + FOLDED_SECONDS_MAX_EACH * stage.schedule.slow_servers

    def _folded(self, topic: str, numbers: Sequence[int]) -> None:
        now = self.world.scheduler.now
        for number in numbers:
            at = self.stage.asked_at.get((topic, number))
            if at is not None and now - at > self._seconds_max and not self._is_excused(topic, at):
                self.world.find(f"a lane's trouble is its own: an event of {topic} waited for {now - at:.0f} s")

    def _is_excused(self, topic: str, at: float) -> bool:
        """Tell whether something was wrong that may keep events of this topic waiting."""
        stage = self.stage
        if stage.disturbed_until >= at:
            return True
        concerned = (topic,) if are_apart(self.world) else TOPICS
        return any(one in stage.ill or stage.locked_until[one] >= at for one in concerned)


def _check_ended(stage: Stage, loop: SimLoop) -> None:
    """Look at what a process leaves that ended in order, while nothing was wrong that an end cannot help."""
    names = {step.name for step in stage.schedule.steps}
    if not names & (FAULTS - {"sigterm"}):
        server = stage.world.server
        rows = [row for row in server.table("outbox").committed() if row["parked_reason"] is None]
        if left := [row for row in rows if row["leased_by"] is loop and row["leased_until"] > server.now()]:
            stage.world.find(f"an end leaves nothing behind: {len(left)} rows are leased to a process that has ended")


def check_released(stage: Stage) -> None:
    """Look whether a process said once at most of each release that it saw it: its lanes know their own brakes."""
    told = Counter(
        (who, fields["topic"], fields["partition"])
        for _, who, event, fields in stage.world.trace
        if event == "partition_released"
    )
    for (who, topic, partition), times in told.items():
        if times > stage.released[topic, partition]:
            stage.world.find(f"a brake is its own lane's: {who} released {topic}/{partition} {times} times")


def topics_read(world: World, process: Process) -> list[tuple[str, ...]]:
    """Return the topics of each open consumer of a process."""
    return [
        client.owner._topics
        for client in world.clients
        if client.loop is process.loop and client.is_open and client.kind == "consumer"
    ]


def are_apart(world: World) -> bool:
    """Tell whether each topic is read by a worker of its own."""
    return all(len(topics) == 1 for process in world.processes for topics in topics_read(world, process))
