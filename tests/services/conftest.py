"""What tests of statements against the whole migrated database share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest_asyncio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Lend a superuser's connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(servers.postgres_dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()
