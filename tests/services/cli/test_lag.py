"""How far behind a group is, held against a group that is held up on purpose."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from countersign import cli
from countersign.contract import AccessRequested
from countersign.operations.connecting import connected
from countersign.operations.lag import Groups, Reading
from countersign.runtime.broker.kafka import KafkaConnection
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.kafka import publish

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
HELD_UP_SECONDS = 3.0
RECORDS = 20


async def commit_everything(bootstrap: str, group: str) -> None:
    """Let a group have read all that lies on the topic now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions = [TopicPartition(AccessRequested.topic, number) for number in range(12)]
        consumer.assign(partitions)
        await consumer.commit(await consumer.end_offsets(partitions))
    finally:
        await consumer.stop()


async def test_seconds_are_those_of_the_oldest_record_that_nobody_read(servers: Servers) -> None:
    """Right within a second; records are counted; after the group has read them it is at the end again."""
    reading = Reading(f"countersign.test-{uuid4()}", AccessRequested.topic)
    await commit_everything(servers.kafka, reading.group)
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        groups = Groups(cluster, clock)
        (at_the_end,) = await groups.lag([reading])
        assert (at_the_end.records, at_the_end.seconds, at_the_end.members) == (0, 0.0, 0)
        began = clock()
        await publish(servers.kafka, *(outgoing(an_access_requested()) for _ in range(RECORDS)))
        await asyncio.sleep(HELD_UP_SECONDS)
        await publish(servers.kafka, outgoing(an_access_requested()))
        (behind,) = await groups.lag([reading])
        waited = (clock() - began).total_seconds()
        assert behind.records == RECORDS + 1
        assert waited - 1 <= behind.seconds <= waited
        await commit_everything(servers.kafka, reading.group)
        (again,) = await groups.lag([reading])
        assert again.records == 0
        assert again.caught_up_in(behind) == timedelta(0)
        assert again.reaches_back


async def test_the_command_prints_a_row_for_each_group_and_topic(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table, and as JSON; a group without a member is a finding."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    assert await asyncio.to_thread(cli.main, ["lag", "--topic", "access.challenges.v1"]) in {0, 1}
    printed = capsys.readouterr().out
    assert "notifier" in printed
    assert "access.challenges.v1" in printed
    await asyncio.to_thread(cli.main, ["lag", "--json", "--group", "countersign.exports"])
    printed = capsys.readouterr().out.splitlines()  # services that other tests run may log beside it
    rows = [json.loads(line) for line in printed if line.startswith("{")]
    assert {row["group"] for row in rows} == {"countersign.exports"}
    assert all(row["seconds"] >= 0 for row in rows)


async def test_a_broker_that_is_away_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no stack trace."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    assert await asyncio.to_thread(cli.main, ["lag"]) == 2
    told = capsys.readouterr().err
    assert "Kafka at 127.0.0.1:9 does not answer" in told
    assert "Traceback" not in told
