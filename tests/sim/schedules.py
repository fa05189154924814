"""What happens in a world, drawn from a seed: records, faults and what people on call do, each at its time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

PARTITIONS = 2
TROUBLES = ("bug", "save", "key", "parse", "keys")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens. `seconds` is how long a fault lasts."""

    at: float
    name: str
    args: tuple[Any, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.at:7.3f} {self.name}{self.args or ''}{lasting}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A whole run: its seed draws every latency and order, its steps what happens."""

    seed: int
    steps: tuple[Step, ...]
    processes: int
    slow_servers: float
    act_seconds: float

    @property
    def horizon(self) -> float:
        """Return when the last fault is over."""
        return max((step.at + step.seconds for step in self.steps), default=0.0)


def draw(seed: int) -> Schedule:
    """Draw a schedule."""
    rng = Random(f"schedule {seed}")
    processes = rng.choice((1, 2, 2))
    steps = [*_records(rng), *_faults(rng, processes)]
    if rng.random() < 0.15:
        steps += _submissions(rng)
    steps.sort(key=lambda step: step.at)
    return Schedule(
        seed,
        tuple(steps),
        processes,
        rng.choice((1.0, 1.0, 1.0, 20.0, 80.0)),
        rng.choice((0.01, 0.2, 2.0)),
    )


def _records(rng: Random) -> list[Step]:
    """Draw records of a good producer, some of which meet one kind of trouble, and a few that nobody can read."""
    count, length = rng.randrange(3, 16), rng.choice((0.5, 3.0, 8.0))
    trouble, share = rng.choice((None, None, *TROUBLES)), rng.choice((0.2, 0.8))
    if trouble in ("parse", "keys"):
        share = 0.2
    steps = []
    for number in range(count):
        met = trouble if trouble and rng.random() < share else None
        place = rng.randrange(PARTITIONS)
        steps.append(Step(0.5 + length * rng.random(), "record", (place, number, f"a{rng.randrange(4)}", met)))
    if rng.random() < 0.25:
        kind = rng.choice(("unreadable", "far", "nonsense"))
        gap = rng.choice((0, 0, 4))
        steps.append(Step(0.5 + length * rng.random(), kind, (rng.randrange(PARTITIONS), gap)))
    if rng.random() < 0.1:
        steps.append(Step(0.0, "old_letter", (900,)))
    return steps


def _seconds(rng: Random) -> float:
    """Draw how long a fault lasts: seldom so long that somebody loses patience."""
    return rng.choices((0.3, 2.0, 8.0, 20.0, 75.0), (4, 5, 5, 3, 1))[0] * (0.5 + rng.random())


_TIMED = ("broker_down", "broker_frozen", "leaderless", "acks_lost", "rights_missing")
_TIMED_SERVER = ("postgres_down", "postgres_hung", "postgres_slow")
_SHORT = ("producers_break", "consumers_break", "commits_cut", "sessions_cut")
_CHECKPOINTS = ("fetched", "decided", "committed", "published", "outbox_deleted", "task.claimed", "task.acted")


def _faults(rng: Random, processes: int) -> list[Step]:
    steps = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        at = 0.2 + 10 * rng.random()
        process = rng.randrange(processes)
        match rng.randrange(10):
            case 0 | 1 | 2:
                name = rng.choice(_TIMED)
                steps.append(Step(at, name, (rng.randrange(PARTITIONS),), _seconds(rng)))
            case 3 | 4:
                steps.append(Step(at, rng.choice(_TIMED_SERVER), (), _seconds(rng)))
            case 5:
                steps.append(Step(at, rng.choice(_SHORT), (rng.randrange(1, 4),)))
            case 6:
                steps.append(Step(at, "kill", (process,)))
            case 7:
                place = rng.choice(_CHECKPOINTS)
                steps.append(Step(at, "kill_at", (process, place, rng.randrange(1, 4))))
            case 8:
                steps.append(Step(at, "sigterm", (process,), _seconds(rng)))
            case _:
                steps.append(Step(at, "refused_account", (rng.randrange(4),)))
    acts = rng.choices(("release", "redrive"), (1, 2), k=rng.choice((0, 0, 1, 2)))
    return [*steps, *(Step(1 + 10 * rng.random(), name) for name in acts)]


def _submissions(rng: Random) -> list[Step]:
    """Programs without an outbox that submit requests, in bursts, around a hiccup of the broker."""
    first = 1 + 3 * rng.random()
    steps = [Step(first + 0.05, rng.choice(("acks_lost", "broker_frozen", "broker_down")), (0,), 0.2 + rng.random())]
    for burst in range(6):
        at = first + burst * (0.1 + 0.5 * rng.random())
        steps += [Step(at + 0.05 * rng.random(), "submit") for _ in range(4)]
    return steps
