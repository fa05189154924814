"""Every fault that can be put in: by the number under which it was found, or by what lanes would have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.sim.planted import consuming, ends, lanes, publishing

if TYPE_CHECKING:
    from collections.abc import Callable


class Planted(NamedTuple):
    """A fault. `plant` puts it back into this process for good; `finding` is how a finding about it begins."""

    plant: Callable[[], None]
    finding: tuple[str, ...]


PLANTED: dict[str, Planted] = {
    "1": Planted(publishing.close_for_all, ("submissions on a healthy broker succeed",)),
    "2": Planted(publishing.interrupt_stop, ("no leaks",)),
    "3": Planted(publishing.never_park, ("at rest",)),
    "4": Planted(publishing.own_twice, ("one owner per row", "published once", "the sweeper pauses")),
    "5": Planted(publishing.share_one_slot, ("one partition's trouble is its own",)),
    "7": Planted(consuming.guard_less, ("no process ends by itself",)),
    "9": Planted(consuming.race_brakes, ("at rest", "no partition is paused", "no process ends by itself: ")),
    "10": Planted(consuming.watch_blindly, ("no process ends by itself",)),
    "12": Planted(consuming.settle_aged, ("nothing lost",)),
    "15": Planted(ends.tell_early, ("told after the commit",)),
    "17": Planted(ends.end_never, ("SIGTERM ends a process",)),
    "24": Planted(consuming.settle_suspects, ("nothing lost",)),
    "25": Planted(consuming.pass_over_positions, ("no false letters",)),
    "31": Planted(publishing.sweep_on, ("the sweeper pauses", "one owner per row")),
    "34": Planted(consuming.leave_consumers, ("no leaks",)),
    "subject": Planted(lanes.share_subject, ("one voice for each subject of health",)),
    "release": Planted(lanes.know_release_twice, ("a brake is its own lane's",)),
    "end": Planted(lanes.end_without_worker, ("an end leaves nothing behind",)),
    "lie": Planted(lanes.lie_everywhere, ("a lane's trouble is its own",)),
}
