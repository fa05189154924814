"""The in-memory tables and PostgreSQL pass the same cases."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from countersign.runtime.database import leases
from countersign.runtime.database.postgres import migrations_of
from countersign.runtime.settings import LeaseSettings
from tests.sim.contract import table_cases
from tests.sim.contract.in_memory import cases_of, run_in_memory
from tests.sim.tables import connection, statements
from tests.sim.world import noting, service
from tests.support.toy import OPERATOR

if TYPE_CHECKING:
    from tests.support.servers import Servers

_SETTINGS = {
    **leases.parameters(LeaseSettings()),
    "countersign.lease_outbox": f"{table_cases.LEASE_SECONDS} s",
    "lock_timeout": "1000",
}
CASES = cases_of(table_cases)
_CASES = pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)


@_CASES
def test_in_memory(case: Any) -> None:
    """In virtual time."""

    async def open_() -> Any:
        return await connection.connect(server_settings=_SETTINGS)

    run_in_memory(lambda: case(open_))


@pytest.mark.servers
@_CASES
async def test_on_postgresql(case: Any, servers: Servers) -> None:
    """In a schema of its own, made by the runtime's migrations."""
    schema = f"sim_{uuid4().hex[:10]}"
    opened: list[Any] = []

    async def open_() -> Any:
        settings = {**_SETTINGS, "search_path": schema}
        opened.append(await asyncpg.connect(servers.postgres_dsn, server_settings=settings))
        return opened[-1]

    first = await asyncpg.connect(servers.postgres_dsn)
    try:
        await first.execute(OPERATOR)
        await first.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}")
        for _, sql in migrations_of("without_a_folder"):
            await first.execute(sql)
        await first.execute(service.TABLES + noting.TABLES)
        await case(open_)
        await first.execute(f"DROP SCHEMA {schema} CASCADE")
    finally:
        for one in (first, *opened):
            one.terminate()


def test_every_statement_that_is_known_has_a_case() -> None:
    """By the name of the module's function that performs it, or of the statement itself."""
    texts = "".join(_source(case) for case in CASES)
    plain = {"BEGIN", "COMMIT", "ROLLBACK", "DISCARD PLANS", "SELECT now()", "SELECT 1"}
    called = {name: re.search(rf"{re.escape(_called(name))}\b", texts) for name in statements.known().keys() - plain}
    assert sorted(name for name, found in called.items() if found is None) == []


def _called(name: str) -> str:
    module, _, function = name.partition(".")
    if module in ("sim", "noting"):
        return f"{module.replace('sim', 'service')}.{function.upper()}"
    return f"rows.{function}" if function in ("forget", "park", "extend", "give_back") else name


def _source(case: Any) -> str:
    import inspect  # noqa: PLC0415 - of one test

    return inspect.getsource(case)
