"""A consumer group of the in-memory broker: static members, rebalances, committed offsets."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka import TopicPartition

    from tests.sim.broker.log import Broker
    from tests.sim.world.loop import SimFuture

HEARTBEAT_SECONDS = 0.5


@dataclass(slots=True)
class Seat:
    """A member. `told` is called when it must join again; `joined` is what it waits for while it does."""

    instance: str
    member_id: str
    topics: tuple[str, ...]
    metadata: bytes
    session_seconds: float
    rebalance_seconds: float
    told: Callable[[], None]
    joined: SimFuture | None = None
    partitions: tuple[TopicPartition, ...] = ()
    gone_since: float | None = None
    is_alive: Callable[[], bool] = field(default=lambda: True)


class Group:
    """Members by instance name. A rebalance waits for all of them, or for as long as a rebalance may take."""

    def __init__(self, name: str, broker: Broker) -> None:
        self.name = name
        self._broker = broker
        self.seats: dict[str, Seat] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.generation = 0
        self.is_rebalancing = False
        self._round = 0

    def join(self, seat: Seat, joined: SimFuture) -> None:
        """Sit down, and set `joined` to the partitions once they are known."""
        seat.joined = joined
        before = self.seats.get(seat.instance)
        self.seats[seat.instance] = seat
        if before is not None and before is not seat:
            seat.partitions = before.partitions
        same = before is not None and before.topics == seat.topics and before.member_id != seat.member_id
        if same and not self.is_rebalancing:
            self._seated(seat)  # a static member that is back: nobody else hears of it
        elif self.is_rebalancing:
            self._complete_if_all(self._round)
        else:
            self.begin()

    def begin(self) -> None:
        """Begin a rebalance: every member hears of it at its next heartbeat."""
        if self.is_rebalancing:
            return
        self.is_rebalancing = True
        self._round += 1
        longest = HEARTBEAT_SECONDS
        for seat in list(self.seats.values()):
            longest = max(longest, seat.rebalance_seconds)
            if seat.joined is None:
                self._broker.world.call_later(self._broker.rng.random() * HEARTBEAT_SECONDS, self._tell, seat)
        self._broker.world.call_later(longest, self._out_of_patience, self._round)
        self._complete_if_all(self._round)

    def is_member(self, seat: Seat) -> bool:
        """Whether a seat is still taken by the same member."""
        return self.seats.get(seat.instance) is seat

    def abandoned(self, seat: Seat) -> None:
        """Wait for a member that says nothing any more, as long as its session lasts."""
        self._broker.world.call_later(seat.session_seconds, self._expire, seat)

    def _expire(self, seat: Seat) -> None:
        if not self.is_member(seat):
            return
        if not self._broker.answers:  # the coordinator is away as well, and counts anew when it is back
            self._broker.when_changed(lambda: self.abandoned(seat))
            return
        del self.seats[seat.instance]
        if self.is_rebalancing:
            self._complete_if_all(self._round)
        else:
            self.begin()

    def _tell(self, seat: Seat) -> None:
        if not self.is_member(seat) or not self.is_rebalancing:
            return
        if self._broker.answers:
            seat.told()
        else:
            self._broker.when_changed(
                lambda: self._broker.world.call_later(HEARTBEAT_SECONDS * self._broker.rng.random(), self._tell, seat)
            )

    def _complete_if_all(self, number: int) -> None:
        if number == self._round and self.is_rebalancing and all(seat.joined for seat in self.seats.values()):
            self._broker.world.call_later(0.003, self._complete, number)

    def _out_of_patience(self, number: int) -> None:
        if number != self._round or not self.is_rebalancing:
            return
        if not self._broker.answers:
            self._broker.when_changed(lambda: self._broker.world.call_later(1.0, self._out_of_patience, number))
            return
        for name in [name for name, seat in self.seats.items() if seat.joined is None]:
            late = self.seats.pop(name)
            self._broker.world.call_later(HEARTBEAT_SECONDS, late.told)
        self._complete(number)

    def _complete(self, number: int) -> None:
        if number != self._round or not self.is_rebalancing or not all(seat.joined for seat in self.seats.values()):
            return
        self.is_rebalancing = False
        self.generation += 1
        seats = [self.seats[name] for name in sorted(self.seats)]
        for seat in seats:
            seat.partitions = ()
        topics = sorted({topic for seat in seats for topic in seat.topics})
        places = [log.place for topic in topics for log in self._broker.topics.get(topic, ())]
        for index, place in enumerate(places):
            readers = [seat for seat in seats if place.topic in seat.topics]
            reader = readers[index % len(readers)]
            reader.partitions = (*reader.partitions, place)
        for seat in seats:
            self._seated(seat)

    @staticmethod
    def _seated(seat: Seat) -> None:
        joined, seat.joined = seat.joined, None
        if joined is not None and not joined.done():
            joined.set_result(seat.partitions)

    def described(self) -> tuple[Any, ...]:
        """Return what an admin client is told: the fields of DescribeGroups that are read here."""
        stable = not self.is_rebalancing and self.seats
        members = [
            (
                seat.member_id,
                "",
                "/127.0.0.1",
                seat.metadata if stable else b"",
                _encoded(seat.partitions) if stable else b"",
            )
            for seat in self.seats.values()
        ]
        return (0, self.name, "Stable" if stable else "PreparingRebalance", "consumer", "", members)


@lru_cache(maxsize=1000)
def _encoded(partitions: tuple[TopicPartition, ...]) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for place in partitions:
        by_topic.setdefault(place.topic, []).append(place.partition)
    return bytes(ConsumerProtocolMemberAssignment(0, list(by_topic.items()), b"").encode())
