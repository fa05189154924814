"""Topics of the in-memory broker, what is wrong with it at the moment, and the groups that read from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.sim.broker.group import Group
    from tests.sim.world.loop import Scheduler, SimLoop

EPOCH_MS = 1_767_225_600_000  # the clock of the servers at virtual time 0: 2026-01-01


@dataclass(slots=True, eq=False)
class Held:
    """A record as the broker holds it. An unreadable one has a header whose name is not UTF-8."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    is_unreadable: bool = False


@dataclass(slots=True)
class Log:
    """One partition. Offsets may have gaps: compaction leaves them."""

    place: TopicPartition
    records: list[Held] = field(default_factory=list)
    start: int = 0
    end: int = 0
    waiting: dict[object, Callable[[], None]] = field(default_factory=dict)

    def forget(self) -> None:
        """Delete all records, as a topic's retention does."""
        self.records.clear()
        self.start = self.end

    def wake(self) -> None:
        """Call those who wait for a record."""
        waiting, self.waiting = self.waiting, {}
        for call in waiting.values():
            call()

    def after(self, offset: int) -> int:
        """Return the index of the first record at that offset or behind it."""
        records = self.records
        index = len(records)
        while index and records[index - 1].offset >= offset:
            index -= 1
        return index


class Broker:
    """All brokers of a cluster, as their clients see them.

    `is_down`: connections are refused. `is_frozen`: nothing is answered. `leaderless` partitions take and give nothing.
    `refused` topics are answered with that error in the ack; a record that `refuses` knows, with its own. `loses_acks`:
    records are appended, their acks are not sent before the ack is asked for again. `breaks_producers`: the next
    produce requests end their producers for good; `breaks_consumers`: the next fetches raise.
    """

    def __init__(self, scheduler: Scheduler, rng: Random, world: SimLoop) -> None:
        self.scheduler = scheduler
        self.rng = rng
        self.world = world
        self.topics: dict[str, list[Log]] = {}
        self.groups: dict[str, Group] = {}
        self.is_down = False
        self.is_frozen = False
        self.leaderless: set[TopicPartition] = set()
        self.refused: dict[str, type[Exception]] = {}
        self.refuses: Callable[[bytes | None], type[Exception] | None] = lambda _value: None
        self.loses_acks = False
        self.breaks_producers = 0
        self.breaks_consumers = 0
        self.slowness = 1.0
        self.appended: Callable[[TopicPartition, Held], None] = lambda _place, _held: None
        self._mended: dict[object, Callable[[], None]] = {}

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic."""
        self.topics[topic] = [Log(TopicPartition(topic, number)) for number in range(partitions)]

    @property
    def answers(self) -> bool:
        """Whether a request is answered."""
        return not (self.is_down or self.is_frozen)

    def latency(self) -> float:
        """Draw how long a request takes."""
        return (0.0005 + 0.004 * self.rng.random()) * self.slowness

    def log(self, place: TopicPartition) -> Log:
        """Return a partition."""
        return self.topics[place.topic][place.partition]

    def now_ms(self) -> int:
        """Return the broker's clock."""
        return EPOCH_MS + int(self.scheduler.now * 1000)

    def append(
        self,
        place: TopicPartition,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
        *,
        timestamp: int | None = None,
        gap: int = 0,
        is_unreadable: bool = False,
    ) -> Held:
        """Append a record, `gap` offsets further on than the last one."""
        log = self.log(place)
        stamp = self.now_ms() if timestamp is None else timestamp
        held = Held(log.end + gap, stamp, key, value, headers, is_unreadable)
        log.records.append(held)
        log.end = held.offset + 1
        self.appended(place, held)
        log.wake()
        return held

    def when_changed(self, call: Callable[[], None], of: object = None) -> None:
        """Call once when something about the brokers changes; of several calls of one, only the last."""
        self._mended[call if of is None else of] = call

    def changed(self) -> None:
        """Say that something about the brokers has changed."""
        waiting, self._mended = self._mended, {}
        for call in waiting.values():
            call()

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong for anybody."""
        return self.answers and not (self.loses_acks or self.breaks_producers)

    def heal(self) -> None:
        """Answer everything again."""
        self.is_down = self.is_frozen = self.loses_acks = False
        self.leaderless.clear()
        self.refused.clear()
        self.breaks_producers = self.breaks_consumers = 0
        self.slowness = 1.0
        self.changed()
