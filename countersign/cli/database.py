"""A connection to PostgreSQL for one command, and its failures in words."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg

from countersign.cli.failures import naming_postgres
from countersign.cli.surroundings import Surroundings
from countersign.operations import journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

T = TypeVar("T")
_SECONDS = 10
# A command that is stopped in the middle holds no locks for longer than this.
_SETTINGS = {"application_name": "countersign", "idle_in_transaction_session_timeout": f"{_SECONDS * 1_000}"}


def address_of(dsn: str | None) -> str:
    """Return what --dsn gave, else OPERATOR_DSN, else POSTGRES_DSN. Raises CommandFailedError."""
    around = Surroundings.found()
    return around.need("POSTGRES_DSN", dsn or around.get("OPERATOR_DSN"), "--dsn")


@asynccontextmanager
async def database(address: str) -> AsyncIterator[asyncpg.Connection]:
    """Connect for one command. Raises CommandFailedError, in words, if PostgreSQL does not let it."""
    with naming_postgres(address):
        db = await asyncpg.connect(address, timeout=_SECONDS, command_timeout=_SECONDS * 6, server_settings=_SETTINGS)
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def recorded(
    db: asyncpg.Connection, schema: str, command: str, by: str, reason: str, planned: Mapping[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    """Keep a row before something is done outside of the database, and its outcome after, also if it fails.

    What is put into the dictionary is the outcome; if nothing is, it is the name of the error. Raises
    CommandFailedError if PostgreSQL does not keep it.
    """
    with naming_postgres():
        operation_id = await journal.begin(db, schema, command, by, reason, planned)
    outcome: dict[str, Any] = {}
    try:
        yield outcome
    except BaseException as error:
        outcome = outcome or {"failed": type(error).__name__}
        raise
    finally:
        with naming_postgres():
            await journal.end(db, schema, operation_id, outcome)


def ask(dsn: str | None, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Run work on a connection of its own. Raises CommandFailedError, in words, if PostgreSQL does not let it."""
    address = address_of(dsn)

    async def run() -> T:
        with naming_postgres(address):
            async with database(address) as db:
                return await work(db)

    return asyncio.run(run())
