"""Known places as the view shows them, and the command that makes them anew."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from countersign import cli
from tests.support.evaluator_settings import SERVICE
from tests.support.events import a_client

if TYPE_CHECKING:
    import asyncpg
    import pytest

    from tests.support.evaluator import Evaluator
    from tests.support.members import Member
    from tests.support.servers import Servers


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, ["rebuild", "known-places", *arguments])


async def rebuilt(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run it; return its exit code and what it printed."""
    capsys.readouterr()
    code = await countersign(*arguments, "--json")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"read_model"')]
    found: dict[str, Any] = json.loads(line)
    return code, found


async def learned(evaluator: Evaluator, member: Member, *hosts: int) -> None:
    """Let somebody in from some computers."""
    for host in hosts:
        await evaluator.teach(await evaluator.ask(member, client=a_client(ip=f"203.0.113.{host}")))


async def rows(db: asyncpg.Connection, table: str = "known_place") -> list[tuple[Any, ...]]:
    """Return the rows; the last use is written at most hourly, depending on what came in one batch."""
    sql = f"SELECT account_id, place, taught_by, first_used_at FROM {table} ORDER BY 1, 2, 3"
    return [tuple(row) for row in await db.fetch(sql)]


async def tables(db: asyncpg.Connection) -> set[str]:
    sql = "SELECT relname FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relname LIKE '%rebu%'"
    return {row["relname"] for row in await db.fetch(sql, SERVICE)}


async def delete_everything(servers: Servers, topic: str) -> None:
    """Delete what lies on a topic, as its retention does."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers.kafka)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await consumer.start()
    await admin.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        await admin.delete_records({one: RecordsToDelete(before_offset=end) for one, end in ends.items()})
    finally:
        await consumer.stop()
        await admin.close()
