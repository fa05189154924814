"""A connection for one command, and its failures in words."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from countersign.cli.surroundings import Failed, Surroundings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
_SECONDS = 10


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
