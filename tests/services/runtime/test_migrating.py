"""Two replicas that migrate at once: the second one waits, in words, for a bounded time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from structlog import get_logger
from structlog.testing import capture_logs

from countersign.runtime.database import migration_lock, postgres
from countersign.runtime.database.migration_lock import MigrationBusyError, with_free_tables
from countersign.runtime.program.failures import EXIT_UNAVAILABLE, CommandError, print_failure
from countersign.runtime.program.service import _migrate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@asynccontextmanager
async def _migrating(servers: Servers) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Hold what a process holds that migrates the notifier's schema."""
    db = await asyncpg.connect(servers.dsn_of("notifier"))
    try:
        await db.execute("SELECT pg_advisory_lock(hashtextextended('countersign.migrate.notifier', 0))")
        yield db
    finally:
        await db.close()


async def test_a_second_replica_waits_for_the_first_one_and_says_so(servers: Servers) -> None:
    """Longer than lock_timeout, which ended it with a traceback."""
    with capture_logs() as logs:
        async with _migrating(servers):
            second = asyncio.ensure_future(postgres.migrate(servers.dsn_of("notifier"), "notifier", get_logger()))
            done, _ = await asyncio.wait({second}, timeout=12)
            assert not done
        async with asyncio.timeout(20):
            assert await second == []
    waits = [line for line in logs if line["event"] == "migration_waits"]
    assert waits
    assert "another process migrates this schema" in waits[0]["reason"]


async def test_it_does_not_wait_for_ever(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sentence that says what to do, and an exit status that a supervisor knows."""
    monkeypatch.setattr(migration_lock.hold_migration_lock, "__kwdefaults__", {"wait_seconds_max": 1.0})
    async with _migrating(servers), asyncio.timeout(30):
        with pytest.raises(CommandError) as ended:
            await _migrate(servers.dsn_of("notifier"), "notifier", get_logger())
    assert print_failure("notifier", ended.value) == EXIT_UNAVAILABLE
    told = capsys.readouterr().err
    assert told.startswith("notifier: another process has been migrating this schema")
    assert "Traceback" not in told


async def test_tables_in_use_are_tried_again(servers: Servers) -> None:
    """A long transaction holds the table through one try; then the migration is applied, and nothing of it twice."""
    table = f"used_{uuid4().hex}"
    db = await asyncpg.connect(servers.dsn_of("notifier"), server_settings={"lock_timeout": "500"})
    user = await asyncpg.connect(servers.dsn_of("notifier"))
    await db.execute(f"CREATE TABLE {table} (a integer)")
    tries = 0

    async def apply() -> None:
        nonlocal tries
        tries += 1
        if tries == 3:
            await reading.rollback()
        await db.execute(f"ALTER TABLE {table} ADD COLUMN b integer")

    reading = user.transaction()
    await reading.start()
    await user.execute(f"SELECT FROM {table}")
    await with_free_tables(table, apply, None)
    assert tries == 3
    reading = user.transaction()
    await reading.start()
    await user.execute(f"SELECT FROM {table}")
    tries = 3
    with pytest.raises(MigrationBusyError, match=f"migration {table}: its tables are in use"):
        await with_free_tables(table, apply, None)
    await reading.rollback()
    await db.execute(f"DROP TABLE {table}")
    await db.close()
    await user.close()
