"""How many connections to PostgreSQL the services may hold, what `limits` prints of it, and what `check` says."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from countersign.runtime.database.budget import LIMIT, Budget, connections_finding
from countersign.runtime.program.limits import connection_limit
from deploy.local.layout import SERVICES
from tests.support.frame import running
from tests.support.kafka import eventually
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

ALLOWED_BY_DEFAULT = 100 - 3  # PostgreSQL: max_connections less superuser_reserved_connections
FOR_PEOPLE = 10  # `countersign` on the command line, and somebody with psql
SERVICE_OBJECTS: dict[str, Any] = {name: import_module(f"services.{name}.wiring").SERVICE for name in SERVICES}


def test_one_process_of_each_service_fits_into_a_server_as_it_is_shipped() -> None:
    """With room for people beside them."""
    total = sum(service.budget.connections for service in SERVICE_OBJECTS.values())
    assert total + FOR_PEOPLE <= ALLOWED_BY_DEFAULT


def test_limits_print_the_budget_and_what_it_is_for() -> None:
    """The parts add up to the sum that is printed."""
    for service in SERVICE_OBJECTS.values():
        limit = connection_limit(service.budget)
        assert limit.name == LIMIT
        parts = limit.source.removeprefix("chosen: ").partition(";")[0].split(", ")
        assert sum(int(part.split()[0]) for part in parts) == int(limit.value) == service.budget.connections


@pytest_asyncio.fixture
async def db(servers: Servers) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(servers.dsn_of("verifier"))
    yield connection
    await connection.close()


@pytest.mark.servers
async def test_check_compares_the_budget_with_the_server(db: asyncpg.Connection[asyncpg.Record]) -> None:
    """From both sides of what is left beside others."""
    row = await db.fetchrow(
        "SELECT current_setting('max_connections')::integer AS max, (SELECT count(*) FROM pg_stat_activity"
        " WHERE datname IS NOT NULL AND usename <> current_user) AS others"
    )
    assert row is not None
    fits = await connections_finding(db, Budget())
    assert (fits.level, fits.todo) == ("ok", None)
    assert f"one process needs up to {Budget().connections}" in fits.sentence
    beyond = await connections_finding(db, Budget(pool=row["max"]))
    assert beyond.level == "warning"
    assert beyond.todo is not None
    assert "max_connections" in beyond.todo


@pytest.mark.servers
async def test_a_process_opens_no_more_than_its_budget(
    servers: Servers, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Once everything has looked, with nothing in the way: as PostgreSQL counts it."""
    toy = await a_toy(servers)
    service = toy.service()
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1"
    async with running(service, toy.settings()) as machine:
        assert machine.links == service.budget.links
        for _ in range(3):  # each loop has looked after 2 s
            assert await db.fetchval(sql, f"countersign.{toy.name}") <= service.budget.connections

        async def has_opened() -> bool:
            return bool(await db.fetchval(sql, f"countersign.{toy.name}") >= 3)

        await eventually(has_opened)
