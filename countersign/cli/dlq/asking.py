"""A connection for one command, and its failures in words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from countersign.cli.surroundings import Failed, Surroundings
from countersign.operations.letters import SERVICES, Letters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
_SECONDS = 10


def require_service(service: str) -> None:
    """Raise Failed for a name that is no service of ours."""
    if service not in SERVICES:
        raise Failed(f"no such service: {service}; there are {', '.join(SERVICES)}")


def letters_of(db: asyncpg.Connection, service: str | None) -> Letters:
    """Return the letters of one service, or of all."""
    if service is not None:
        require_service(service)
    return Letters(db, SERVICES if service is None else [service])


def ask(dsn: str | None, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
    """Run work on a connection of its own. Raises Failed, in words, if PostgreSQL does not let it."""
    around = Surroundings.found()
    address = around.need("POSTGRES_DSN", dsn or around.get("OPERATOR_DSN"), "--dsn")

    async def run() -> T:
        try:
            db = await asyncpg.connect(address, timeout=_SECONDS, command_timeout=_SECONDS * 6)
            try:
                return await work(db)
            finally:
                await db.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise Failed(f"PostgreSQL does not say: {type(error).__name__}: {error}") from error

    return asyncio.run(run())
