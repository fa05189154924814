"""What is not there is no sign of health: a topic that is away, partitions nobody reads, a name that two have."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy, settled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.program.machine import Machine
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

TOLD_WITHIN = 20.0


async def test_a_topic_that_is_away_is_told_and_read_again_when_it_is_back(servers: Servers) -> None:
    """Without the topic nothing is lagging and nothing is read; the process is not ready, and mends by itself."""
    toy = await a_toy(servers)
    async with running(toy.service(), toy.settings()) as machine:
        async with _admin(servers) as admin:
            await admin.delete_topics([toy.topic])
            await eventually(lambda: _says(machine, "kafka.topics", toy.topic), within=TOLD_WITHIN)
            configs = {"message.timestamp.type": "LogAppendTime"}
            await admin.create_topics([NewTopic(toy.topic, 4, 1, topic_configs=configs)])
        await publish(servers.kafka, *(toy.added() for _ in range(8)))
        await eventually(lambda: _counts(toy, 8), within=TOLD_WITHIN)
        await eventually(lambda: _ready(machine), within=TOLD_WITHIN)


class Forgetful(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """Assigns what a leader with an old view of the cluster would: one partition is nobody's."""

    @classmethod
    def assign(cls, cluster: Any, members: Any) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Leave out the partition with the highest number."""
        given = super().assign(cluster, members)
        highest = max(one.partition for each in given.values() for one in each.partitions())
        return {
            name: ConsumerProtocolMemberAssignment(
                each.version,
                [(topic, [one for one in numbers if one != highest]) for topic, numbers in each.assignment],
                b"",
            )
            for name, each in given.items()
        }


async def test_partitions_that_are_assigned_to_nobody_are_told(servers: Servers) -> None:
    """The process reads all that it was given, and the group misses a quarter: readiness looks at the group."""
    toy = await a_toy(servers)
    leader = AIOKafkaConsumer(
        toy.topic,
        bootstrap_servers=servers.kafka,
        group_id=f"countersign.{toy.name}",
        partition_assignment_strategy=(Forgetful,),
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
        enable_auto_commit=False,
    )
    await leader.start()
    try:
        async with running(toy.service(), toy.settings(), ready=False) as machine:
            await eventually(lambda: _says(machine, "kafka.group", "1 partitions are not read"), within=TOLD_WITHIN)
            await leader.stop()
            await eventually(lambda: _ready(machine), within=TOLD_WITHIN)
    finally:
        await leader.stop()


async def test_two_processes_with_one_name_are_told_in_words(servers: Servers) -> None:
    """They throw each other out for ever; each says so, with what to do, until one of them ends."""
    toy = await a_toy(servers)
    with structlog.testing.capture_logs() as said:
        async with running(toy.service(), toy.settings("same")) as first:
            async with running(toy.service(), toy.settings("same"), ready=False) as second:
                for machine in (first, second):
                    await eventually(
                        lambda machine=machine: _says(machine, "kafka.instance", "COUNTERSIGN_INSTANCE"), within=40
                    )
            await publish(servers.kafka, toy.added())
            await eventually(lambda: _counts(toy, 1), within=TOLD_WITHIN)
    told = [line for line in said if line["event"] == "instance_name_taken"]
    assert len(told) == 2
    assert {line["instance"] for line in told} == {f"{toy.name}-same"}
    assert all("COUNTERSIGN_INSTANCE" in line["what_to_do"] and line["other_at"] for line in told)


async def test_a_restart_under_the_same_name_is_no_second_process(servers: Servers) -> None:
    """A name that comes back after its process has ended belongs to one alone."""
    toy = await a_toy(servers)
    with structlog.testing.capture_logs() as said:
        for _ in range(2):
            async with running(toy.service(), toy.settings("same")) as machine:
                assert await settled(lambda: _ready(machine), 3)
    assert not [line for line in said if line["event"] == "instance_name_taken"]


@asynccontextmanager
async def _admin(servers: Servers) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _says(machine: Machine, name: str, words: str) -> bool:
    return words in machine.health.reasons.get(name, "")


async def _ready(machine: Machine) -> bool:
    return not machine.health.reasons


async def _counts(toy: Toy, wanted: int) -> bool:
    return await toy.count() == wanted
