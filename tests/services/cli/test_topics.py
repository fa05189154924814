"""Topics of a real cluster against files of the test's own: shown, mended, kept with who did it and why."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin import NewTopic

from countersign import cli
from countersign.contract.topic_files import TopicFile, topic_files
from countersign.operations.connecting import connected
from countersign.operations.topics import Topics
from countersign.runtime.broker.kafka import KafkaConnection
from deploy.local.postgres import OPERATOR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
OWNER = "risk_evaluator"
REASON = ("--reason", "a test", "--who", "ann@bastion", "--execute")


@pytest.fixture
def file(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> TopicFile:
    """Return the file of a topic that only this test has; the command sees no other."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    like = next(each for each in topic_files() if each.owner == OWNER)
    config = {**like.config, "retention.ms": "604800000", "min.insync.replicas": "1"}
    own = like.model_copy(update={"topic": f"test.{uuid4().hex}.v1", "partitions": 3, "config": config})
    monkeypatch.setattr("countersign.cli.topics.topic_files", lambda: (own,))
    return own


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Lend a superuser's connection to the owner's schema."""
    connection = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": OWNER})
    yield connection
    await connection.close()


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, arguments)


async def audit(db: asyncpg.Connection, topic: str) -> list[dict[str, Any]]:
    """Return the audit rows of a topic."""
    rows = await db.fetch(
        "SELECT who, reason, planned, outcome FROM operation WHERE planned->>'topic' = $1 ORDER BY began_at", topic
    )
    return [dict(row) | {"outcome": json.loads(row["outcome"])} for row in rows]


async def test_a_missing_topic_is_shown_then_created(
    file: TopicFile, servers: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing happens until --execute; then the cluster is as the file says, and nothing is left to do."""
    assert await countersign("topics", "plan", "--json") == 1
    (one,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (one["kind"], one["topic"], one["now"]) == ("topic", file.topic, None)
    assert await countersign("topics", "apply") == 1
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        assert await Topics(cluster.admin).present([file.topic]) == {}
    assert await audit(db, file.topic) == []
    assert await countersign("topics", "apply", *REASON) == 0
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        present = (await Topics(cluster.admin).present([file.topic]))[file.topic]
    assert present.partitions == 3
    assert file.config.items() <= present.own.items()
    (row,) = await audit(db, file.topic)
    assert (row["who"], row["reason"], row["outcome"]) == ("ann@bastion", "a test", {"changed": 1})
    assert await countersign("topics", "plan") == 0
    assert await countersign("topics", "apply", *REASON) == 0
    assert len(await audit(db, file.topic)) == 1


async def test_settings_are_mended_and_others_stay(file: TopicFile, servers: Servers) -> None:
    """LogAppendTime among them; a setting that the file does not name, and a longer retention, are left as they are."""
    other = {
        "message.timestamp.type": "CreateTime",
        "retention.ms": "9999999999",
        "segment.bytes": "2097152",
        "cleanup.policy": "delete",
    }
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        await cluster.admin.create_topics([NewTopic(file.topic, 3, 1, topic_configs=other)])
        assert await countersign("topics", "apply", *REASON) == 1  # the retention is left
        own = (await Topics(cluster.admin).present([file.topic]))[file.topic].own
    assert own["message.timestamp.type"] == "LogAppendTime"
    assert own["compression.type"] == file.config["compression.type"]
    assert (own["retention.ms"], own["segment.bytes"]) == ("9999999999", "2097152")


async def test_partitions_are_added_only_when_keys_may_move(
    file: TopicFile, servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan says why; with --allow-rekey it is done."""
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        topics = Topics(cluster.admin)
        await topics.create([file.model_copy(update={"partitions": 1})], 1)
        assert await countersign("topics", "apply", *REASON) == 1
        assert "--allow-rekey" in " ".join(capsys.readouterr().out.split())
        assert (await topics.present([file.topic]))[file.topic].partitions == 1
        assert await countersign("topics", "apply", "--allow-rekey", *REASON) == 0
        assert (await topics.present([file.topic]))[file.topic].partitions == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["apply", "--execute"], "why? Give a --reason"),
        (["plan", "--topic", "none.such.v1"], "no file of none.such.v1"),
        (["plan", "--bootstrap", "127.0.0.1:9"], "Kafka at 127.0.0.1:9 does not answer"),
        (["apply", *REASON, "--dsn", "postgresql://nobody@127.0.0.1:9/none"], "PostgreSQL does not answer"),
    ],
    ids=["reason", "topic", "broker", "database"],
)
async def test_what_keeps_it_from_its_work_is_a_sentence(
    file: TopicFile, servers: Servers, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    """Exit code 2, no stack trace, and nothing was changed."""
    assert await countersign("topics", *arguments) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    async with connected(KafkaConnection(bootstrap_servers=servers.kafka)) as cluster:
        assert await Topics(cluster.admin).present([file.topic]) == {}
