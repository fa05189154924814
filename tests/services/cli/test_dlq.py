"""Dead letters from the command line: found, counted, shown masked, folded again, and who did it and why."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from countersign import cli
from countersign.operations.letters import TRIES_MAX
from countersign.runtime.folding.dead_letter import DeadLetter, keep
from countersign.runtime.messages.record import Record
from deploy.local.postgres import OPERATOR
from tests.support.evaluator import evaluating
from tests.support.evaluator_settings import NO_JWKS, give_settings
from tests.support.events import a_client, a_record, a_summary, an_access_requested
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
SERVICE, TOPIC = "risk_evaluator", "access.requests.v1"
REASON = ("--reason", "mended in a test", "--who", "ann@bastion", "--execute")


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncpg.Connection]:
    """Name the servers as the operator sees them, and lend a superuser's connection with no letters in the table."""
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    connection = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    await connection.execute("DELETE FROM dead_letter; DELETE FROM brake; DELETE FROM operation")
    yield connection
    await connection.close()


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, arguments)


async def letters(
    db: asyncpg.Connection, count: int, cause: str = "a bug of ours: KeyError", **over: Any
) -> list[Record]:
    """Put dead letters of good requests into the risk-evaluator's table, as its worker does."""
    records = []
    for _ in range(count):
        good = a_record(an_access_requested(**over))
        offset = uuid4().int >> 66
        records.append(Record(TOPIC, 3, offset, good.key, good.value, good.headers, good.appended_at))
    await keep(db, [DeadLetter(record, "bug", cause) for record in records])
    return records


def printed_rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Return the JSON objects that were printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]


async def test_letters_are_listed_and_counted_by_cause(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their producer; filters fit together; nothing found is exit code 1."""
    await letters(db, 3)
    await letters(db, 2, "a bug of ours: TypeError")
    assert await countersign("dlq", "groups", "--json", "--service", SERVICE) == 0
    rows = printed_rows(capsys)
    assert [(row["letters"], row["cause"]) for row in rows] == [
        (3, "a bug of ours: KeyError"),
        (2, "a bug of ours: TypeError"),
    ]
    assert {row["source"] for row in rows} != {None}
    assert await countersign("dlq", "ls", "--json", "--cause", "a bug of ours: T", "--topic", TOPIC) == 0
    assert len(printed_rows(capsys)) == 2
    assert await countersign("dlq", "ls", "--cause", "another") == 1
    assert await countersign("dlq", "ls", "--service", SERVICE) == 0
    assert "KeyError" in capsys.readouterr().out


async def test_what_is_shown_tells_nobody_who_it_was(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ids and what decides are shown; the address and the names are not."""
    (record,) = await letters(db, 1, summary=a_summary(what="Spring customers"), client=a_client(ip="198.51.100.77"))
    assert await countersign("dlq", "show", TOPIC, "3", str(record.offset)) == 0
    shown = capsys.readouterr().out
    assert json.loads(record.value or b"")["request_id"] in shown
    assert "198.51.100.77" not in shown
    assert "Spring customers" not in shown
    assert await countersign("dlq", "show", TOPIC, "3", "1") == 1


async def test_nothing_is_done_without_execute_and_a_reason(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what it would do."""
    await letters(db, 2)
    assert await countersign("dlq", "redrive", SERVICE) == 0
    assert "2 letters of risk_evaluator would change" in capsys.readouterr().out
    assert await countersign("dlq", "redrive", SERVICE, "--execute") == 2
    assert "why? Give a --reason" in capsys.readouterr().err
    assert await countersign("dlq", "redrive", "nobody") == 2
    assert await db.fetchval("SELECT count(*) FROM dead_letter WHERE state = 'new'") == 2
    assert await db.fetchval("SELECT count(*) FROM operation") == 0


async def test_redriven_letters_are_folded_by_the_worker(servers: Servers, db: asyncpg.Connection) -> None:
    """Each request gets its assessment, once; who did it and why stands beside it, with what it came to."""
    records = await letters(db, 5)
    assert await countersign("dlq", "redrive", SERVICE, "--rate", "1000", *REASON) == 0
    async with evaluating(servers):

        async def settled() -> bool:
            return bool(await db.fetchval("SELECT bool_and(state = 'done') FROM dead_letter"))

        await eventually(settled)
    ids = [json.loads(record.value or b"")["request_id"] for record in records]
    assert await db.fetchval("SELECT count(*) FROM assessment WHERE request_id = ANY($1::text[]::uuid[])", ids) == 5
    row = await db.fetchrow("SELECT command, who, reason, outcome FROM operation")
    assert (row["command"], row["who"], row["reason"]) == ("dlq redrive", "ann@bastion", "mended in a test")
    assert json.loads(row["outcome"]) == {"letters": 5}


async def test_a_letter_is_parked_after_three_tries(db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """Until somebody says that its cause is mended."""
    await letters(db, 1)
    for _ in range(TRIES_MAX):
        assert await countersign("dlq", "redrive", SERVICE, *REASON) == 0
        await db.execute("UPDATE dead_letter SET state = 'new'")  # it failed again
    assert await countersign("dlq", "redrive", SERVICE, *REASON) == 1
    assert "1 more are parked after 3 tries" in capsys.readouterr().out
    assert await countersign("dlq", "unpark", SERVICE, *REASON) == 0
    assert await countersign("dlq", "redrive", SERVICE, *REASON) == 0


async def test_letters_are_discarded_and_stay(db: asyncpg.Connection) -> None:
    """Only those that were chosen."""
    await letters(db, 2)
    await letters(db, 1, "a bug of ours: TypeError")
    assert await countersign("dlq", "discard", SERVICE, "--cause", "a bug of ours: K", *REASON) == 0
    rows = await db.fetch("SELECT state, count(*) AS n FROM dead_letter GROUP BY 1")
    assert {row["state"]: row["n"] for row in rows} == {"discarded": 2, "new": 1}


async def test_a_brake_is_shown_and_released(db: asyncpg.Connection, capsys: pytest.CaptureFixture[str]) -> None:
    """A held partition is a finding; released, it is none."""
    await db.execute("INSERT INTO brake (topic, partition, reason) VALUES ($1, 3, '21 of the last 100')", TOPIC)
    assert await countersign("dlq", "held") == 1
    assert "21 of the last 100" in capsys.readouterr().out
    assert await countersign("dlq", "release", SERVICE, TOPIC, "--partition", "4", *REASON) == 1
    assert await countersign("dlq", "release", SERVICE, TOPIC, *REASON) == 0
    assert await countersign("dlq", "held") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT value FROM risk_evaluator.outbox",
        "UPDATE risk_evaluator.dead_letter SET value = NULL",
        "DELETE FROM risk_evaluator.dead_letter",
        "DELETE FROM risk_evaluator.operation",
        "UPDATE risk_evaluator.operation SET reason = 'another'",
        "SELECT * FROM verifier.challenge",
        "SELECT * FROM enrolment.phone_number",
        "SELECT * FROM enrolment.sealed_number",
        "CREATE TABLE intruder (x int)",
    ],
)
async def test_the_operators_role_has_just_the_rights_it_needs(servers: Servers, statement: str) -> None:
    """No numbers, no codes, nothing that waits to be published, no way to rewrite who did what."""
    operator = await asyncpg.connect(servers.dsn_of(OPERATOR))
    try:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await operator.execute(statement)
        assert refused.value.sqlstate in {"42501", "3F000"}
    finally:
        await operator.close()


async def test_todays_code_is_held_against_the_letters(
    servers: Servers,
    db: asyncpg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """How many would pass, how many fail and why; nothing is changed and nothing published."""
    await letters(db, 3)
    good = a_record(an_access_requested())
    unfit = [Record(TOPIC, 3, uuid4().int >> 66, good.key, b'{"action": "fly"}', good.headers, good.appended_at)] * 2
    await keep(db, [DeadLetter(record, "bug", "a bug of ours: KeyError") for record in unfit[:1]])
    give_settings(monkeypatch, tmp_path, servers, NO_JWKS)
    before = await db.fetch("SELECT * FROM dead_letter ORDER BY 1, 2, 3")
    assert await countersign("dlq", "check", SERVICE) == 1
    printed = capsys.readouterr().out
    assert "3 of risk_evaluator's new dead letters would pass, 1 would fail." in printed
    assert "  1  " in printed
    assert "fly" not in printed
    assert await db.fetch("SELECT * FROM dead_letter ORDER BY 1, 2, 3") == before
    assert await db.fetchval("SELECT count(*) FROM outbox") == 0
