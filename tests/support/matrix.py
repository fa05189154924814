"""The crash matrix: every named point of every service, where it is killed and started again at once."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.fleet import Stop
from tests.support.world import has_waited_for_its_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.fleet import Fleet
    from tests.support.world import World

_FOLDS = ("fetched", "decided", "committed", "offsets_committed")
# A kill before rows of the outbox are deleted leaves them to whoever takes them by their lease.
_PUBLISHES = ("outbox_deleted", "published", "outbox.claimed", "outbox.acted", "outbox.settled")

POINTS: Mapping[str, Sequence[str]] = {
    "risk_evaluator": (*_FOLDS, *_PUBLISHES),
    "verifier": (
        *_FOLDS,
        *_PUBLISHES,
        "answer_read",
        "answer_committed",
        "answer_replied",
        "cancel_committed",
        "resend_committed",
        "expiry.claimed",
        "expiry.acted",
        "expiry.settled",
    ),
    "notifier": (
        *_FOLDS,
        *_PUBLISHES,
        "texts.claimed",
        "texts.acted",  # sent
        "texts.settled",
        "notices.claimed",
        "notices.acted",
        "notices.settled",
        "texts_in_doubt.claimed",
        "texts_in_doubt.acted",
        "texts_in_doubt.settled",
    ),
    "enrolment": (*_FOLDS, *_PUBLISHES),
    "exports": (
        *_FOLDS,  # committed: export granted
        *_PUBLISHES,
        "ask_committed",
        "export_file.claimed",
        "export_file.acted",  # written
        "export_file.settled",  # ready
    ),
    "gateway": _FOLDS,
}
# Met once by each process that inherits something: a third time would need three deaths before it.
ONCE = ("outbox.", "texts_in_doubt.")
REACHED_WITHIN = 120.0  # its start included, on two busy cores


def stops_of(service: str) -> list[Stop]:
    """Return each point of a service, the first time and, where there can be one, the third."""
    found = []
    for point in POINTS[service]:
        found.append(Stop(point))
        if not point.startswith(ONCE):
            found.append(Stop(point, 3))
    return found


@dataclass
class Figures:
    """What a run of kills came to."""

    name: str
    points: set[str] = field(default_factory=set)
    kills: int = 0
    requests: int = 0
    decisions: int = 0
    texts: int = 0
    unknown: int = 0
    violations: int = 0

    def count(self, world: World, found: Sequence[str]) -> None:
        """Take the figures of a world at rest."""
        self.requests = len({record.value for record in world.topic("access.requests.v1")})
        self.decisions = len(world.table("verifier.decision"))
        self.texts = sum(text.may_have_left for text in world.texts)
        self.unknown = sum(row["state"] == "unknown" for row in world.table("notifier.dispatch"))
        self.violations = len(found)

    def row(self) -> str:
        """Return them as a line of the table."""
        counts = (self.kills, self.requests, self.decisions, self.texts, self.unknown, self.violations)
        return f"{self.name:<28}{len(self.points):>8}" + "".join(f"{count:>11}" for count in counts)


HEADER = f"{'killed':<28}{'points':>8}" + "".join(
    f"{name:>11}" for name in ("kills", "requests", "decisions", "texts", "unknown", "violations")
)


def troubles(world: World) -> list[str]:
    """Return what no death may leave behind: dead letters, and errors in our own logs."""
    letters = [
        f"{name}: {row['topic']}/{row['partition']}/{row['offset']}: {row['cause']}"
        for name, rows in world.tables.items()
        if name.endswith(".dead_letter")
        for row in rows
        if not has_waited_for_its_key(name, row)
    ]
    errors = [
        f"{name}: {line[:300]}"
        for name, text in world.written.items()
        for line in text.splitlines()
        if '"service": ' in line and '"level": "error"' in line
    ]
    return letters + errors


async def kill(fleet: Fleet, service: str, stops: Sequence[Stop], figures: Figures) -> list[str]:
    """Have a service killed at each stop in turn, started again at once; return the stops that it never came to."""
    missed = []
    fleet.send(service, signal.SIGKILL)
    for stop in stops:
        await fleet.start(service, stop=stop)
        figures.points.add(f"{service}:{stop.point}")
        if await fleet.over(service, "0", stop, REACHED_WITHIN):
            figures.kills += 1
        else:
            missed.append(f"{service}: {stop.point}, time {stop.nth}")
            fleet.send(service, signal.SIGKILL)
    await fleet.start(service)
    return missed
