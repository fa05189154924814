"""What happens in a world, drawn from a seed: records, faults and what people on call do, each at its time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from tests.sim.world.events import IN, QUIET, TOPICS

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITIONS = 2
QUIET_FIRST = 100  # the numbers of quiet events begin here
# A statement that hangs ends after 30 s, its rollback after 30 s more: from 60 s on the watchdog ends the process, and
# it is started again.
HUNG_SECONDS_MAX = 40.0
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
    """Draw a schedule: of everything a little, or much of one kind."""
    rng = Random(f"schedule {seed}")
    processes = rng.choice((1, 2, 2))
    profile = rng.choices(tuple(_PROFILES), [weight for weight, _ in _PROFILES.values()])[0]
    steps = sorted(_PROFILES[profile][1](rng, processes), key=lambda step: step.at)
    slow = rng.choice((1.0, 1.0, 1.0, 20.0, 80.0)) if profile != "brakes" else 80.0
    return Schedule(seed, tuple(steps), processes, slow, rng.choice((0.01, 0.2, 2.0)))


def _mixed(rng: Random, processes: int) -> list[Step]:
    return [*_records(rng), *_quiet(rng), *_faults(rng, processes), *_acts(rng)]


def _brakes(rng: Random, processes: int) -> list[Step]:
    """Draw many failures of many accounts on both partitions, a bit apart: one brake comes while another is held.

    The other topic has none of it, or some, or as many.
    """
    count, length, trouble = rng.randrange(10, 18), 4 + 4 * rng.random(), rng.choice(("bug", "bug", "save"))
    topic, other = rng.choice((TOPICS, TOPICS, TOPICS[::-1]))
    steps = [_record(rng, number, length, trouble, topic) for number in range(count)]
    more, also = rng.choice(((0, None), (4, None), (count, trouble)))
    steps += [_record(rng, number, length, also, other) for number in range(more)]
    return [*steps, *_acts(rng), *(_faults(rng, processes) if rng.random() < 0.3 else ())]


def _outage(rng: Random, processes: int) -> list[Step]:
    """Draw one long outage of the brokers, of one partition or of the database, and what happens in it."""
    name = rng.choice((*TIMED, *TIMED_OF_POSTGRES, *TIMED_OF_POSTGRES))
    start, seconds = 0.5 + 3 * rng.random(), rng.choice((12.0, 35.0, 75.0)) * (0.7 + 0.6 * rng.random())
    seconds = min(seconds, HUNG_SECONDS_MAX) if name == "postgres_hung" else seconds
    args = (rng.randrange(PARTITIONS),) if name in TIMED else ()
    steps = [_record(rng, number, 0.7 * min(seconds, 12.0), None) for number in range(rng.randrange(8, 20))]
    steps += _quiet(rng)
    during = start + min(0.7 * seconds, rng.choice((8.0, 60.0))) * rng.random()
    process = rng.randrange(processes)
    acts = (Step(during, "kill", (process,)), *2 * (Step(during, "sigterm", (process,), 45.0),), None)
    act = rng.choice(acts)
    also = rng.choice((Step(during, "consumers_break", (1,)), None))
    return [*steps, Step(start, name, args, seconds), *(step for step in (act, also) if step is not None)]


def _letters(rng: Random, processes: int) -> list[Step]:
    """Draw letters that are redriven before and after their cause is mended, while something else goes wrong."""
    steps = [_record(rng, number, 2.0, rng.choice(("bug", "key", "save"))) for number in range(rng.randrange(2, 8))]
    steps += [Step(3 + 6 * rng.random(), "redrive") for _ in range(rng.randrange(1, 5))]
    steps += [Step(0.0, "old_letter", (900,))] if rng.random() < 0.2 else []
    steps += _quiet(rng)
    return [*steps, *_faults(rng, processes)]


def _submitting(rng: Random, processes: int) -> list[Step]:
    """Draw programs without an outbox that submit requests, in bursts, around a hiccup of the broker."""
    first, kind = 0.5 + rng.random(), rng.choice(("acks_lost", "broker_frozen", "broker_down"))
    steps = [Step(first + 0.05, kind, (0,), 0.2 + rng.random())]
    for burst in range(12):
        at = first + 0.4 * burst * (0.5 + rng.random())
        steps += [Step(at + 0.05 * rng.random(), "submit") for _ in range(3)]
    return steps[: None if processes == 1 else 30]


def _lanes(rng: Random, processes: int) -> list[Step]:
    """Draw trouble of one topic alone, or of none, while records of the other come all the time."""
    ill, well = rng.choice((TOPICS, TOPICS[::-1]))
    length = 6.0 + 6.0 * rng.random()
    steps = [_record(rng, number, length, None, well) for number in range(rng.randrange(6, 12))]
    trouble = rng.choice((None, None, "bug", "save", "key"))
    steps += [_record(rng, number, length / 2, trouble, ill) for number in range(rng.randrange(4, 12))]
    if trouble is None:
        steps += [_locked(rng, ill) for _ in range(rng.choice((0, 1, 2)))]
    if rng.random() < 0.4:
        steps.append(Step(1 + length * rng.random(), "sigterm", (rng.randrange(processes),), 5 + 10 * rng.random()))
    return steps


def _record(rng: Random, number: int, length: float, trouble: str | None, topic: str = IN) -> Step:
    place, account = rng.randrange(PARTITIONS), f"a{rng.randrange(4)}"
    number += QUIET_FIRST if topic == QUIET else 0
    return Step(0.3 + length * rng.random(), "record", (topic, place, number, account, trouble))


def _quiet(rng: Random) -> list[Step]:
    """Draw events that nobody waits for, in every other schedule: all well, or with a trouble of their own."""
    count, length = rng.choice((0, 0, 2, 4)), rng.choice((0.5, 3.0, 6.0))
    trouble = rng.choice((None, None, *TROUBLES))
    return [_record(rng, number, length, trouble if rng.random() < 0.4 else None, QUIET) for number in range(count)]


def _locked(rng: Random, topic: str) -> Step:
    """Draw a row that somebody else holds while its event comes: the fold of that topic waits, and no other."""
    number = rng.randrange(4) + (QUIET_FIRST if topic == QUIET else 0)
    return Step(0.2 + 2.0 * rng.random(), "locked", (topic, number), 2.0 + 20.0 * rng.random())


def _records(rng: Random) -> list[Step]:
    """Draw records of a good producer, some of which meet one kind of trouble, and a few that nobody can read."""
    count, length = rng.randrange(3, 16), rng.choice((0.5, 3.0, 6.0))
    trouble, share = rng.choice((None, None, None, *TROUBLES)), rng.choice((0.2, 0.8))
    if trouble in ("parse", "keys"):
        share = 0.2
    steps = [_record(rng, number, length, trouble if rng.random() < share else None) for number in range(count)]
    if rng.random() < 0.2:
        kind, gap = rng.choice(("unreadable", "far", "nonsense")), rng.choice((0, 0, 4))
        place = rng.choice((IN, IN, QUIET)), rng.randrange(PARTITIONS)
        steps.append(Step(0.5 + length * rng.random(), kind, (*place, gap)))
    return steps


def _seconds(rng: Random) -> float:
    """Draw how long a fault lasts: seldom so long that somebody loses patience."""
    return rng.choices((0.3, 2.0, 8.0, 20.0, 75.0), (4, 5, 5, 3, 1))[0] * (0.5 + rng.random())


TIMED = ("broker_down", "broker_frozen", "leaderless", "acks_lost", "rights_missing")
TIMED_OF_POSTGRES = ("postgres_down", "postgres_hung", "postgres_slow")
SHORT = ("producers_break", "consumers_break", "commits_cut", "sessions_cut")
# A fault may lead to a row being published once more.
FAULTS = frozenset((*TIMED, *TIMED_OF_POSTGRES, *SHORT, "kill", "kill_at", "sigterm"))
_CHECKPOINTS = ("fetched", "decided", "committed", "published", "outbox_deleted", "task.claimed", "task.acted")


def _faults(rng: Random, processes: int) -> list[Step]:
    steps = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        at = 0.2 + 7 * rng.random()
        process = rng.randrange(processes)
        match rng.randrange(10):
            case 0 | 1 | 2:
                name = rng.choice(TIMED)
                steps.append(Step(at, name, (rng.randrange(PARTITIONS),), _seconds(rng)))
            case 3 | 4:
                name, seconds = rng.choice(TIMED_OF_POSTGRES), _seconds(rng)
                steps.append(Step(at, name, (), min(seconds, HUNG_SECONDS_MAX) if name == "postgres_hung" else seconds))
            case 5:
                steps.append(Step(at, rng.choice(SHORT), (rng.randrange(1, 4),)))
            case 6:
                steps.append(Step(at, "kill", (process,)))
            case 7:
                place = rng.choice(_CHECKPOINTS)
                steps.append(Step(at, "kill_at", (process, place, rng.randrange(1, 4))))
            case 8:
                steps.append(Step(at, "sigterm", (process,), _seconds(rng)))
            case _:
                steps.append(Step(at, "refused_account", (rng.randrange(4),)))
    if rng.random() < 0.1:
        steps.append(_locked(rng, rng.choice(TOPICS)))
    return steps


def _acts(rng: Random) -> list[Step]:
    """Draw what people on call do, whether it helps or not."""
    acts = rng.choices(("release", "redrive"), (1, 2), k=rng.choice((0, 0, 1, 2)))
    return [Step(1 + 8 * rng.random(), name) for name in acts]


_PROFILES: dict[str, tuple[int, Callable[[Random, int], list[Step]]]] = {
    "mixed": (55, _mixed),
    "brakes": (10, _brakes),
    "outage": (15, _outage),
    "letters": (12, _letters),
    "submitting": (8, _submitting),
    "lanes": (8, _lanes),
}
