"""A group's offsets moved from the command line: shown, confirmed, kept with who did it, and led back."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from countersign import cli
from countersign.operations.connecting import connected
from countersign.operations.lag import Reading
from countersign.operations.offsets import OffsetsError, commit, plan_reset
from countersign.runtime.broker.kafka import KafkaConnection
from deploy.local.postgres import OPERATOR
from tests.support.events import clock
from tests.support.kafka import publish_raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
SERVICE = "exports"
EARLY, LATE, READ = 40, 20, 50


@dataclass
class Moving:
    """A topic of the test's own, a group that has read some of it, and the command line."""

    kafka: KafkaConnection
    reading: Reading
    middle: datetime
    db: asyncpg.Connection
    folder: Path
    capsys: pytest.CaptureFixture[str]

    async def call(self, *arguments: str) -> tuple[int, str]:
        """Run `offsets reset`; return its code and everything that it printed."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(cli.main, ["offsets", "reset", *arguments])
        printed = self.capsys.readouterr()
        return code, printed.out + printed.err

    def asked(self, to: str) -> tuple[str, ...]:
        return "--group", self.reading.group, "--topic", self.reading.topic, "--to", to

    def doing(self, confirm: str, file: str = "undo.json") -> tuple[str, ...]:
        undo = str(self.folder / file)
        return "--reason", "a test", "--who", "ann@bastion", "--confirm", confirm, "--undo-file", undo, "--execute"

    async def committed(self) -> list[int]:
        """Return where the group is on each partition."""
        async with connected(self.kafka) as cluster:
            found = await cluster.admin.list_consumer_group_offsets(self.reading.group)
        return [found[one].offset for one in sorted(found) if one.topic == self.reading.topic]

    async def audit(self) -> list[dict[str, Any]]:
        rows = await self.db.fetch(
            "SELECT who, reason, planned, outcome FROM operation "
            "WHERE command = 'offsets reset' AND planned->>'topic' = $1 ORDER BY began_at",
            self.reading.topic,
        )
        return [{**row, "planned": json.loads(row["planned"]), "outcome": json.loads(row["outcome"])} for row in rows]

    @asynccontextmanager
    async def member(self, *, joins: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
        """Be a member of the group, or only commit for it."""
        consumer = AIOKafkaConsumer(
            **self.kafka.arguments(),
            group_id=self.reading.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=5000,
            metadata_max_age_ms=5000,
        )
        await consumer.start()
        try:
            if joins:
                consumer.subscribe([self.reading.topic])
                await consumer.getmany(timeout_ms=5000, max_records=1)
            yield consumer
        finally:
            await consumer.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def moving(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Moving]:
    """Make the topic, publish 40 records before and 20 after a moment, and let the group have read 50."""
    reading = Reading(f"countersign.{SERVICE}.{uuid4().hex}", f"test.{uuid4().hex}.v1")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    monkeypatch.setattr("countersign.cli.offsets.readings", lambda: [reading])
    kafka = KafkaConnection(bootstrap_servers=servers.kafka)
    async with connected(kafka) as cluster:
        await cluster.admin.create_topics(
            [NewTopic(reading.topic, 1, 1, topic_configs={"message.timestamp.type": "LogAppendTime"})]
        )
    for number in range(EARLY + LATE):
        if number == EARLY:
            await asyncio.sleep(0.2)
            middle = clock()
            await asyncio.sleep(0.05)
        await publish_raw(servers.kafka, reading.topic, b"key", str(number).encode())
    db = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    found = Moving(kafka, reading, middle, db, tmp_path, capsys)
    async with found.member(joins=False) as consumer:
        partition = TopicPartition(reading.topic, 0)
        consumer.assign([partition])
        await consumer.commit({partition: READ})
    yield found
    await db.close()


async def test_it_is_shown_then_done_and_leads_back(moving: Moving) -> None:
    """Nothing moves until it is confirmed; the service then begins there; the undo file leads back, kept as well."""
    code, words = await moving.call(*moving.asked(moving.middle.isoformat()))
    assert code == 0, words
    assert f"{READ - EARLY} records are read again" in words
    assert '--confirm "1 s"' in words
    assert (await moving.committed(), await moving.audit()) == ([READ], [])
    code, words = await moving.call(*moving.asked(moving.middle.isoformat()), *moving.doing("1 s"))
    assert code == 0, words
    assert await moving.committed() == [EARLY]
    async with moving.member() as consumer:
        (messages,) = (await consumer.getmany(timeout_ms=5000, max_records=LATE)).values()
        assert messages[0].value in {str(EARLY).encode(), str(EARLY + 1).encode()}  # joining may have taken the first
    code, words = await moving.call("--undo", str(moving.folder / "undo.json"), *moving.doing("1 s, 10 skipped", "2"))
    assert code == 0, words
    assert await moving.committed() == [READ]
    first, second = await moving.audit()
    assert (first["who"], first["reason"], first["outcome"]) == ("ann@bastion", "a test", {"moved": 1})
    assert first["planned"]["moves"] == {"0": [READ, EARLY]}
    assert second["planned"]["moves"] == {"0": [EARLY, READ]}
    code, words = await moving.call("--undo", str(moving.folder / "undo.json"))
    assert (code, "is there already" in words) == (1, True)


@pytest.mark.parametrize(
    ("to", "confirm", "offset"), [("earliest", "1 s", 0), ("latest", "0 s, 10 skipped", EARLY + LATE)]
)
async def test_to_an_end_of_the_topic(moving: Moving, to: str, confirm: str, offset: int) -> None:
    """What would be skipped has to be typed as well."""
    code, words = await moving.call(*moving.asked(to), "--json")
    (found,) = [json.loads(line) for line in words.splitlines() if line.startswith("{")]
    assert (code, found["confirm"]) == (0, confirm)
    code, words = await moving.call(*moving.asked(to), *moving.doing(confirm.partition(",")[0] + " "))
    assert (code, f"type {confirm}" in words) == (2, True)
    code, words = await moving.call(*moving.asked(to), *moving.doing(confirm))
    assert (code, await moving.committed()) == (0, [offset]), words


async def test_a_group_with_members_is_left_alone(moving: Moving) -> None:
    """Told before anything is asked; and refused by the broker itself where a member came after the plan."""
    async with connected(moving.kafka) as cluster:
        plan = await plan_reset(cluster, moving.reading.group, moving.reading.topic, "earliest")
    async with moving.member():
        code, words = await moving.call(*moving.asked("earliest"), *moving.doing("1 s"))
        assert (code, "has 1 member: stop every process" in words) == (1, True)
        with pytest.raises(OffsetsError, match="has members by now"):
            await commit(moving.kafka, plan)
        assert await moving.committed() == [READ]
    assert await moving.audit() == []
    assert not (moving.folder / "undo.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--group", "countersign.nobody"), "there is no group countersign.nobody"),
        (("--topic", "access.requests.v1"), "does not read access.requests.v1"),
        (("--to", "tomorrow"), "expected a time such as"),
        (("--partition", "7"), "has no partition 7"),
        (("--undo", "gone.json"), "leave --group, --topic and --to out"),
        (("--reason", " "), "why?"),
    ],
)
async def test_wrong_arguments(moving: Moving, change: tuple[str, str], words: str) -> None:
    """A sentence, exit code 2, and nothing moves."""
    code, told = await moving.call(*moving.asked("earliest"), *moving.doing("1 s"), *change)
    assert (code, words in told, "Traceback" in told) == (2, True, False), told
    assert (await moving.committed(), await moving.audit()) == ([READ], [])


async def test_files_that_do_not_serve(moving: Moving) -> None:
    """No undo file that can be read; or one that would be written over."""
    broken = moving.folder / "broken.json"
    broken.write_text('{"group": "countersign.exports"}')
    code, told = await moving.call("--undo", str(broken))
    assert (code, "no undo file" in told, "topic" in told) == (2, True, True)
    code, told = await moving.call(*moving.asked("earliest"), *moving.doing("1 s", "broken.json"))
    assert (code, "cannot be written: File exists; nothing was moved" in told) == (2, True), told
    assert (await moving.committed(), await moving.audit()) == ([READ], [])


async def test_servers_that_are_away(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL keeps who did it, so without it nothing moves."""
    monkeypatch.setenv("OPERATOR_DSN", "postgresql://operator@127.0.0.1:9/countersign")
    code, told = await moving.call(*moving.asked("earliest"), *moving.doing("1 s"))
    assert (code, "PostgreSQL does not answer" in told, "Traceback" in told) == (2, True, False), told
    assert not (moving.folder / "undo.json").exists()
    assert await moving.committed() == [READ]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    code, told = await moving.call(*moving.asked("earliest"))
    assert (code, "Kafka at 127.0.0.1:9 does not answer" in told) == (2, True), told
