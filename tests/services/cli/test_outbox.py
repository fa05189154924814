"""Records that Kafka refused, from the command line: listed, published again, discarded, and who did it and why."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from countersign import cli
from countersign.runtime import retention
from countersign.runtime.due_work import own_tables
from countersign.runtime.publishing import outbox
from deploy.local.postgres import OPERATOR
from tests.support.evaluator import evaluating
from tests.support.kafka import eventually, read_topic
from tests.support.odd_topics import a_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
# What these rows hold is no event: they go to a topic that nobody reads.
SERVICE, TOPIC = "risk_evaluator", f"test.outbox.{uuid4().hex}"
REASON = ("--reason", "mended in a test", "--who", "ann@bastion", "--execute")
TOO_LARGE = "MessageSizeTooLargeError"
PARKED = """
INSERT INTO outbox (event_id, topic, key, value, headers, leased_until, parked_reason)
VALUES ($1, $2, 'secret key', 'secret value', '[]', now(), $3)
"""


@pytest_asyncio.fixture(loop_scope="session", scope="module", autouse=True)
async def topic(servers: Servers) -> None:
    """Make the topic that the rows go to."""
    await a_topic(servers.kafka, name=TOPIC)


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """Name the servers as the operator sees them, and lend a superuser's connection with nothing in the outbox."""
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    connection = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    await connection.execute("DELETE FROM outbox; DELETE FROM operation")
    yield connection
    await connection.execute("DELETE FROM outbox")
    await connection.close()


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, arguments)


async def parked(db: asyncpg.Connection, topic: str = TOPIC, error: str = TOO_LARGE) -> UUID:
    """Park a row and return its id."""
    event_id = uuid4()
    await db.execute(PARKED, event_id, topic, error)
    return event_id


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


async def test_parked_rows_are_listed_without_their_content(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the broker's error; filters fit together; what only waits is not among them; none is exit code 1."""
    large, other = await parked(db), await parked(db, error="InvalidTopicError")
    await db.execute(PARKED, uuid4(), TOPIC, None)
    assert await countersign("outbox", "ls", "--json") == 0
    rows = printed(capsys)
    assert {(row["event_id"], row["service"], row["parked_reason"]) for row in rows} == {
        (str(large), SERVICE, TOO_LARGE),
        (str(other), SERVICE, "InvalidTopicError"),
    }
    assert "secret" not in json.dumps(rows)
    assert await countersign("outbox", "ls", "--service", SERVICE, "--error", "Invalid", "--topic", TOPIC) == 0
    shown = capsys.readouterr().out
    assert (str(other) in shown, str(large) in shown, "InvalidTopicError" in shown) == (True, False, True)
    assert await countersign("outbox", "ls", "--event", str(uuid4())) == 1
    assert await countersign("outbox", "ls", "--service", "nobody") == 2


async def test_nothing_is_done_without_execute_and_a_reason(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it would do."""
    await parked(db)
    for command in ("retry", "discard"):
        assert await countersign("outbox", command, SERVICE) == 0
        assert "1 parked rows of risk_evaluator would change" in capsys.readouterr().out
        assert await countersign("outbox", command, SERVICE, "--execute") == 2
        assert "why? Give a --reason" in capsys.readouterr().err
    assert await outbox.pending(db) == (0, 1, 0.0)
    assert await db.fetchval("SELECT count(*) FROM operation") == 0


async def test_rows_are_published_again_by_the_service(servers: Servers, db: asyncpg.Connection) -> None:
    """Those that were chosen; who did it and why stands beside it, with what it came to."""
    chosen, other = await parked(db), await parked(db, error="InvalidTopicError")
    assert await countersign("outbox", "retry", SERVICE, "--error", "MessageSize", *REASON) == 0
    async with evaluating(servers):

        async def is_published() -> bool:
            return [row["event_id"] for row in await db.fetch("SELECT event_id FROM outbox")] == [other]

        await eventually(is_published)
    assert b"secret value" in {record.value for record in await read_topic(servers.kafka, TOPIC)}
    row = await db.fetchrow("SELECT command, who, reason, planned, outcome FROM operation")
    assert (row["command"], row["who"], row["reason"]) == ("outbox retry", "ann@bastion", "mended in a test")
    assert json.loads(row["planned"]) == {"error": "MessageSize"}
    assert json.loads(row["outcome"]) == {"rows": 1, "event_ids": [str(chosen)]}


async def test_discarded_rows_are_never_published_and_end_after_40_days(
    servers: Servers, db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are no alarm any more, and cannot be published again."""
    gone, kept = await parked(db), await parked(db)
    assert await countersign("outbox", "discard", SERVICE, "--event", str(gone), "--json", *REASON) == 0
    assert printed(capsys) == [{"service": SERVICE, "rows": 1, "changed": 1, "done": True}]
    assert (await outbox.pending(db))[1] == 1
    assert await countersign("outbox", "retry", SERVICE, *REASON) == 0
    assert await countersign("outbox", "retry", SERVICE, "--event", str(gone), *REASON) == 1
    async with evaluating(servers):

        async def is_published() -> bool:
            return kept not in {row["event_id"] for row in await db.fetch("SELECT event_id FROM outbox")}

        await eventually(is_published)
    await retention.apply(db, own_tables.RULES)
    assert [row["event_id"] for row in await db.fetch("SELECT event_id FROM outbox")] == [gone]
    await db.execute("UPDATE outbox SET discarded_at = now() - $1::interval", timedelta(days=41))
    await retention.apply(db, own_tables.RULES)
    assert await db.fetchval("SELECT count(*) FROM outbox") == 0


async def test_the_operator_reads_no_content_and_deletes_nothing(servers: Servers, db: asyncpg.Connection) -> None:
    """Its rights do not reach further than these commands."""
    await parked(db)
    operator = await asyncpg.connect(servers.dsn_of(OPERATOR), server_settings={"search_path": SERVICE})
    try:
        for statement in ("SELECT value FROM outbox", "SELECT key FROM outbox", "DELETE FROM outbox"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await operator.execute(statement)
    finally:
        await operator.close()
