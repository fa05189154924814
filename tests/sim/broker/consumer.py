"""A consumer with the surface of aiokafka's that the runtime uses: static membership, eager rebalances, pauses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka.errors import CommitFailedError, ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord

from tests.sim.broker.client import Client
from tests.sim.broker.group import Group, Seat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from aiokafka import TopicPartition

    from tests.sim.broker.log import Held
    from tests.sim.world.loop import SimFuture, SimTask


@dataclass(slots=True)
class _Place:
    """Where a partition is read. `broken_at`: the fetch that was taken apart ended in an error there."""

    position: int
    is_paused: bool = False
    broken_at: int | None = None


class _Coordinator:
    """Where aiokafka keeps the task of the membership."""

    def __init__(self) -> None:
        self._coordination_task: SimTask | None = None


class SimConsumer:
    """Stands in for AIOKafkaConsumer."""

    def __init__(self, **arguments: Any) -> None:
        self._client = Client("consumer", arguments, self)
        self._loop = self._client.loop
        self._broker = self._client.broker
        self._arguments = arguments
        self._topics: tuple[str, ...] = ()
        self._listener: Any = None
        self._closed = False
        self._places: dict[TopicPartition, _Place] = {}
        self._is_assigned: SimFuture = self._loop.create_future()
        self._seat: Seat | None = None
        self._must_join: SimFuture = self._loop.create_future()
        self._coordinator = _Coordinator()
        self._count = 0

    def subscribe(self, topics: Iterable[str] = (), listener: Any = None) -> None:
        self._topics = tuple(sorted(topics))
        self._listener = listener
        self._join_again()

    def _join_again(self) -> None:
        if not self._must_join.done() and not self._loop.is_dead:
            self._must_join.set_result(None)

    @property
    def group(self) -> Group:
        name = self._arguments["group_id"]
        groups = self._broker.groups
        if name not in groups:
            groups[name] = Group(name, self._broker)
        return groups[name]

    async def start(self) -> None:
        await self._client.bootstrap()
        self._coordinator._coordination_task = self._loop.create_task(self._coordinate())
        await asyncio.shield(self._is_assigned)

    async def _coordinate(self) -> None:
        """Be a member until closed, or cancelled by force."""
        try:
            await self._join_forever()
        finally:
            self.fall_silent()

    async def _join_forever(self) -> None:
        """Join, and join again whenever the group says so."""
        while True:
            self._must_join = self._loop.create_future()
            if self._is_assigned.done():
                self._is_assigned = self._loop.create_future()
            if self._listener is not None:
                with suppress(Exception):
                    await self._listener.on_partitions_revoked(frozenset(self._places))
            while not self._broker.answers:
                await self._client.changed()
            await asyncio.sleep(self._broker.latency())
            partitions = await self._joined()
            committed = self.group.committed
            self._places = {place: _Place(committed.get(place, self._broker.log(place).start)) for place in partitions}
            self._is_assigned.set_result(None)
            if self._listener is not None:
                with suppress(Exception):  # aiokafka logs it, and goes on
                    await self._listener.on_partitions_assigned(frozenset(partitions))
            await self._must_join

    async def _joined(self) -> Sequence[TopicPartition]:
        seat = self._seat
        assignors = self._arguments.get("partition_assignment_strategy", ())
        metadata = bytes(assignors[0].metadata(self._topics).encode()) if assignors else b""
        if seat is None or not self.group.is_member(seat):
            self._count += 1
            instance = self._arguments["group_instance_id"]
            unique = f"{id_of(self._broker.rng)}"
            seconds = self._arguments["session_timeout_ms"] / 1000
            patience = self._arguments.get("rebalance_timeout_ms", 10_000) / 1000
            seat = Seat(instance, f"{instance}-{unique}", self._topics, metadata, seconds, patience, self._join_again)
            self._seat = seat
        seat.topics, seat.metadata = self._topics, metadata
        joined = self._loop.create_future()
        self.group.join(seat, joined)
        found: Sequence[TopicPartition] = await joined
        return found

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._places)

    def paused(self) -> set[TopicPartition]:
        return {place for place, state in self._places.items() if state.is_paused}

    def _state(self, place: TopicPartition) -> _Place:
        state = self._places.get(place)
        if state is None:
            raise IllegalStateError(f"No current assignment for partition {place}")
        return state

    def pause(self, *places: TopicPartition) -> None:
        for place in places:
            self._state(place).is_paused = True

    def resume(self, *places: TopicPartition) -> None:
        for place in places:
            self._state(place).is_paused = False
            self._broker.world.call_soon(self._wake, place)

    def _wake(self, place: TopicPartition) -> None:
        self._broker.log(place).wake()

    def seek(self, place: TopicPartition, offset: int) -> None:
        state = self._state(place)
        state.position, state.broken_at = offset, None

    async def position(self, place: TopicPartition) -> int:
        if place not in self._places:
            raise IllegalStateError(f"Partition {place} is not assigned")
        return self._places[place].position

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await self._client.request()
        return {place: self._broker.log(place).end for place in places}

    async def committed(self, place: TopicPartition) -> int | None:
        await self._client.request()
        return self.group.committed.get(place)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        for place in offsets:
            if place not in self._places:
                raise IllegalStateError(f"Partition {place} is not assigned")
        await self._client.request()
        group, seat = self.group, self._seat
        if seat is None or not group.is_member(seat) or (group.is_rebalancing and seat.joined is not None):
            raise CommitFailedError("the group has gone on without this member")
        if not self._loop.is_dead:
            group.committed.update(offsets)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        if self._closed:
            raise ConsumerStoppedError
        if self._broker.breaks_consumers:
            self._broker.breaks_consumers -= 1
            raise KafkaError("an error of the simulated coordinator")
        deadline = self._loop.time() + timeout_ms / 1000
        while True:
            if not self._is_assigned.done():
                await asyncio.shield(self._is_assigned)
            if self._broker.answers:
                found = self._taken(partitions, max_records or 10_000)
                if found:
                    return found
            seconds = deadline - self._loop.time()
            if seconds <= 0 or not await self._something(partitions, seconds):
                return {}

    async def _something(self, partitions: Sequence[TopicPartition], seconds: float) -> bool:
        """Wait until a record may have come; False when the time is over."""
        waiter = self._loop.create_future()

        def wake() -> None:
            self._loop.call_later(self._broker.latency(), _finish, waiter, True)

        for place in partitions or self._places:
            self._broker.log(place).waiting[self] = wake
        if not self._broker.answers or self._broker.leaderless:
            self._broker.when_changed(wake, self)
        timer = self._loop.call_later(seconds, _finish, waiter, False)
        try:
            came: bool = await waiter
        finally:
            timer.cancel()
        return came

    def _taken(
        self, partitions: Sequence[TopicPartition], records_max: int
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        drained: dict[TopicPartition, list[ConsumerRecord]] = {}
        for place, state in self._places.items():
            if state.is_paused or (partitions and place not in partitions) or place in self._broker.leaderless:
                continue
            if state.broken_at is not None:
                # What aiokafka had taken apart before the error was never handed out, and is passed over.
                state.position, state.broken_at = state.broken_at, None
                continue
            got, position = [], state.position
            log = self._broker.log(place)
            for held in log.records[log.after(position) :]:
                if held.is_unreadable:
                    state.broken_at = position
                    raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
                got.append(as_consumed(place, held))
                position = held.offset + 1
                if len(got) == records_max:
                    break
            state.position = position
            if got:
                drained[place] = got
                records_max -= len(got)
                if not records_max:
                    break
        return drained

    async def stop(self) -> None:
        """Close. While the coordinator does not answer this waits, and who cancels it leaves the connections open."""
        if self._closed:
            return
        self._closed = True
        while self._broker.is_frozen:
            await self._client.changed()
        await asyncio.sleep(self._broker.latency())
        self._end_coordination()
        await self._client.close()

    def _end_coordination(self) -> None:
        if self._coordinator._coordination_task is not None:
            self._coordinator._coordination_task.cancel()
        self.fall_silent()

    def fall_silent(self) -> None:
        """Send no heartbeat any more: closed, or killed. A static member says no goodbye."""
        if self._seat is not None and self.group.is_member(self._seat) and self._seat.told is not _nothing:
            self._seat.told = _nothing
            self.group.abandoned(self._seat)


def id_of(rng: Any) -> str:
    """Return a UUID's 36 characters, drawn: Kafka makes member ids with them."""
    return f"{rng.getrandbits(128):032x}0000"


def _nothing() -> None:
    """Tell nobody: the member has gone."""


def _finish(waiter: SimFuture, came: bool) -> None:
    if not waiter.done():
        waiter.set_result(came)


def as_consumed(place: TopicPartition, held: Held) -> ConsumerRecord:
    """Return a record as a consumer hands it out."""
    return ConsumerRecord(
        place.topic,
        place.partition,
        held.offset,
        held.timestamp,
        1,
        held.key,
        held.value,
        None,
        -1 if held.key is None else len(held.key),
        -1 if held.value is None else len(held.value),
        held.headers,
    )
