"""Lanes: what nobody waits for is read patiently, and no lane's trouble is another's."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from countersign.operations.connecting import connected
from countersign.operations.lag import Groups, Reading
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.consuming.lane import lanes_of
from countersign.runtime.folding.fold import PATIENTLY
from countersign.runtime.watching.health import Health
from tests.support.events import clock
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import Adding, a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming
    from tests.support.servers import Servers
    from tests.support.toy import Added, Toy

EACH = 40
LIE_LONG_MS = 1_000  # so long that a slow machine shows it too

servers_needed = pytest.mark.servers


class Counting(Adding):
    """Counts its transactions. While `held` is clear, its load waits."""

    def __init__(self, topic: str, out: str, delay_ms_max: int) -> None:
        super().__init__(topic, out, delay_ms_max=delay_ms_max)
        self.loads = 0
        self.free = asyncio.Event()
        self.free.set()

    async def is_loading(self) -> bool:
        """Return True once it has begun."""
        return self.loads > 0

    async def load(self, db: Connection, events: Sequence[Incoming[Added]]) -> tuple[set[UUID], datetime]:
        self.loads += 1
        await self.free.wait()
        return await super().load(db, events)


class TwoLanes:
    """One service with two folds, on the topics of two toys and in the tables of the first."""

    def __init__(self, toy: Toy, other: Toy, delay_ms_max: int) -> None:
        self.toy, self.other = toy, other
        self.urgent = Counting(toy.topic, toy.out, 0)
        self.patient = Counting(other.topic, toy.out, delay_ms_max)

    def running(self, instance: str = "0", **more: Any) -> Any:
        """Run one instance."""
        return running(self.toy.service(self.urgent, self.patient), self.toy.settings(instance), **more)

    async def folded(self) -> Counter[str]:
        """Return how many events of each topic are kept, by the account that each test gives them."""
        rows = await self.toy.fetch("SELECT account FROM addition")
        return Counter(row["account"].partition("-")[0] for row in rows)

    async def has_folded(self, urgent: int, patient: int) -> bool:
        """Return True if so many of each are kept."""
        return await self.folded() == Counter({"urgent": urgent, "patient": patient})

    def rows(self, count: int, first: int = 0) -> list[Any]:
        """Return events of both lanes, in turns."""
        return [
            one
            for number in range(first, first + count)
            for one in (
                self.toy.added(account=f"urgent-{number}"),
                self.other.added(account=f"patient-{number}"),
            )
        ]


@asynccontextmanager
async def two_lanes(servers: Servers, delay_ms_max: int = PATIENTLY) -> AsyncIterator[TwoLanes]:
    """Lay the topics and the tables."""
    yield TwoLanes(await a_toy(servers), await a_toy(servers), delay_ms_max)


def test_folds_are_grouped_by_how_long_their_events_may_lie() -> None:
    """The most urgent lane has no name of its own; a service with one lane has none at all."""
    one, two, three = Counting("a", "o", PATIENTLY), Counting("b", "o", 0), Counting("c", "o", PATIENTLY)
    found = lanes_of([one, two, three])
    assert [(lane.name, lane.delay_ms_max) for lane in found] == [("", 0), (f".{PATIENTLY}ms", PATIENTLY)]
    assert [list(lane.folds) for lane in found] == [[two], [one, three]]
    assert [lane.name for lane in lanes_of([one])] == [""]
    assert lanes_of([]) == []


@servers_needed
async def test_what_may_lie_is_folded_together(servers: Servers) -> None:
    """Forty events of each, one after the other: the patient lane takes a third of the transactions, or fewer."""
    async with two_lanes(servers, LIE_LONG_MS) as there, there.running():
        await publish(servers.kafka, *there.rows(1))
        await eventually(lambda: there.has_folded(1, 1))
        there.urgent.loads = there.patient.loads = 0
        producer = AIOKafkaProducer(bootstrap_servers=servers.kafka)
        await producer.start()
        try:
            for row in there.rows(EACH, first=1):
                await producer.send_and_wait(row.topic, row.value, key=row.key, headers=list(row.headers))
                await asyncio.sleep(0.01)
        finally:
            await producer.stop()
        await eventually(lambda: there.has_folded(EACH + 1, EACH + 1))
        assert there.patient.loads * 3 <= there.urgent.loads


@servers_needed
@pytest.mark.parametrize("stuck", ["urgent", "patient"])
async def test_a_lane_whose_fold_hangs_holds_up_no_other(servers: Servers, stuck: str) -> None:
    """Neither the patient one the urgent one, nor the other way round; and what hung is folded afterwards."""
    async with two_lanes(servers) as there, there.running():
        hung: Counting = getattr(there, stuck)
        rows = there.rows(10)
        hung.free.clear()
        try:
            await publish(servers.kafka, *(row for row in rows if row.topic == hung.topic))
            await eventually(hung.is_loading)
            await publish(servers.kafka, *(row for row in rows if row.topic != hung.topic))
            await eventually(lambda: there.has_folded(*((0, 10) if stuck == "urgent" else (10, 0))))
        finally:
            hung.free.set()
        await eventually(lambda: there.has_folded(10, 10))


@servers_needed
async def test_the_group_keeps_the_place_of_each_lane(servers: Servers) -> None:
    """After the end, the offsets of both topics are those of their ends; the next start folds nothing again."""
    async with two_lanes(servers) as there:
        async with there.running():
            await publish(servers.kafka, *there.rows(20))
            await eventually(lambda: there.has_folded(20, 20))
        assert await there.toy.committed() == {there.toy.topic: 20, there.other.topic: 20}
        there.urgent.loads = there.patient.loads = 0
        async with there.running():
            await publish(servers.kafka, *there.rows(1, first=20))
            await eventually(lambda: there.has_folded(21, 21))
        assert (there.urgent.loads, there.patient.loads) == (1, 1)


@servers_needed
async def test_two_instances_share_both_topics_and_one_takes_all_when_the_other_ends(servers: Servers) -> None:
    """Four members of one group: each lane's partitions go to members of that lane alone."""
    async with two_lanes(servers) as there, there.running("first") as first:
        async with there.running("second") as second:
            shares = [lane.worker for machine in (first, second) for lane in machine.lanes]
            await eventually(lambda: _assigned(shares, [2, 2, 2, 2]), within=60)
            topics = [{one.topic for one in worker.consumer.assignment()} for worker in shares if worker.consumer]
            assert topics == [{there.toy.topic}, {there.other.topic}] * 2
            assert await _members(there) == {there.toy.topic: 2, there.other.topic: 2}
            await publish(servers.kafka, *there.rows(20))
            await eventually(lambda: there.has_folded(20, 20))
        await publish(servers.kafka, *there.rows(20, first=20))
        await eventually(lambda: there.has_folded(40, 40), within=60)
        await eventually(lambda: _assigned([lane.worker for lane in first.lanes], [4, 4]), within=60)


def test_readiness_tells_which_lane_is_in_trouble() -> None:
    """What both would say under one name, each says under its own."""
    urgent = Health()
    patient = urgent.of(f".{PATIENTLY}ms")
    urgent.tell("start", None)
    patient.tell("postgres.folds", "it is away")
    urgent.tell("postgres.folds", None)
    assert urgent.reasons == {f"postgres.folds.{PATIENTLY}ms": "it is away"}
    patient.tell("postgres.folds", None)
    assert urgent.reasons == {}


async def _members(there: TwoLanes) -> dict[str, int]:
    """Return how many members `countersign lag` shows for each topic."""
    asked = [Reading(f"countersign.{there.toy.name}", topic) for topic in (there.toy.topic, there.other.topic)]
    async with connected(KafkaConnection(bootstrap_servers=there.toy.servers.kafka)) as cluster:
        found = await Groups(cluster, clock).lag(asked)
    return {lag.reading.topic: lag.members for lag in found}


async def _assigned(workers: Sequence[Any], wanted: Sequence[int]) -> bool:
    return [len(worker.consumer.assignment()) if worker.consumer else 0 for worker in workers] == list(wanted)
