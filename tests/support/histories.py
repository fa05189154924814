"""Ground for state machines: a database of their own whose clock stands still until a rule moves it."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from countersign.runtime.checkpoint import nothing
from countersign.runtime.database.postgres import Link, migrate
from countersign.runtime.messages.record import headers_from_text
from countersign.runtime.program.frame import Frame
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from deploy.local import postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from countersign.runtime.settings import ServiceSettings
    from tests.support.servers import Servers

T = TypeVar("T")

_TABLES = """
SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
 WHERE schemaname = ANY($1::text[]) AND tablename <> 'migration'
"""

# Found before pg_catalog's by whoever has `clock` first in the search path. All three stand still together.
CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.reading (at timestamptz NOT NULL);
INSERT INTO clock.reading VALUES (date_trunc('second', pg_catalog.now()));
CREATE FUNCTION clock.now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM clock.reading';
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM clock.reading';
CREATE FUNCTION clock.statement_timestamp() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT at FROM clock.reading';
GRANT USAGE ON SCHEMA clock TO PUBLIC;
GRANT SELECT ON clock.reading TO PUBLIC;
"""


@dataclass
class Ground:
    """`db` is a superuser's pool; `at` what the clock shows. `run` waits for a coroutine from outside the loop."""

    servers: Servers
    dsn: str
    db: asyncpg.Pool[asyncpg.Record]
    loop: asyncio.AbstractEventLoop
    at: datetime

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the ground's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    @contextmanager
    def entered(self, manager: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Enter an async context manager in the ground's loop."""
        value = self.run(manager.__aenter__())
        try:
            yield value
        finally:
            self.run(manager.__aexit__(None, None, None))

    async def begin_anew(self) -> None:
        """Empty every table."""
        async with self.db.acquire() as db, db.transaction():
            await db.execute("SET LOCAL session_replication_role = replica")  # the audit chain refuses, as it should
            names = await db.fetch(_TABLES, list(postgres.ROLES))
            await db.execute(f"TRUNCATE {', '.join(row['name'] for row in names)}")

    async def pass_time(self, seconds: float) -> None:
        """Move the clock on."""
        self.at += timedelta(seconds=seconds)
        await self.db.execute("UPDATE clock.reading SET at = $1", self.at)

    @asynccontextmanager
    async def frame(self, service: str, held: ServiceSettings) -> AsyncIterator[Frame[Any]]:
        """Lend out a service's frame on this database; what it hands to its publisher stays in the outbox."""
        log, health, metrics = structlog.wrap_logger(None, [_drop]), Health(), Metrics()
        dsn = postgres.dsn_of(service, self.dsn)
        path = {"search_path": f"clock, {service}, pg_catalog", "timezone": "UTC", "lock_timeout": "10000"}
        publisher = Publisher(
            held.kafka,
            link=Link(dsn, service),
            health=health,
            metrics=metrics,
            checkpoint=nothing,
            log=log,
        )
        async with asyncpg.create_pool(dsn, min_size=1, max_size=8, server_settings=path) as pool:
            yield Frame(held, pool, publisher, health, metrics, log, nothing)

    async def published(self, service: str) -> list[tuple[str, dict[str, Any]]]:
        """Take everything out of a service's outbox: type and value of each event."""
        rows = await self.db.fetch(f"DELETE FROM {service}.outbox RETURNING headers, value")
        return [(dict(headers_from_text(row["headers"]))["ce_type"].decode(), json.loads(row["value"])) for row in rows]


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


@contextmanager
def a_ground(servers: Servers) -> Iterator[Ground]:
    """Make the database, and drop it at the end. The loop runs in a thread of its own, as hypothesis knows none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    name = f"histories_{uuid4().hex[:12]}"
    dsn = urlunsplit(urlsplit(servers.postgres_dsn)._replace(path=f"/{name}"))

    def run(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(120)

    try:
        run(_lay(servers.postgres_dsn, name, dsn))
        db = run(_pool(dsn))
        try:
            yield Ground(servers, dsn, db, loop, run(db.fetchval("SELECT at FROM clock.reading")))
        finally:
            run(db.close())
    finally:
        run(_execute(servers.postgres_dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _pool(dsn: str) -> asyncpg.Pool[asyncpg.Record]:
    return await asyncpg.create_pool(dsn, min_size=1, max_size=4)


async def _lay(superuser_dsn: str, name: str, dsn: str) -> None:
    await _execute(superuser_dsn, f'CREATE DATABASE "{name}"')
    await postgres.lay_roles(dsn)
    for service in postgres.ROLES:
        await migrate(postgres.dsn_of(service, dsn), service)
    await _execute(dsn, CLOCK)


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


def histories(machine: Callable[[], RuleBasedStateMachine], *, examples: int, steps: int, random: bool = False) -> None:
    """Try histories of a machine; not `random`, they are the same in every run."""
    run_state_machine_as_test(
        machine,  # type: ignore[arg-type] # hypothesis takes any factory, as its documentation says
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=not random,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def same(expected: object, found: object) -> None:
    """Compare what the model says with what the tables say, and show both."""
    assert found == expected, f"the model says {expected!r}; the tables say {found!r}"
