"""One process at a time applies a service's migrations. The others wait for it, and say so."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import structlog

# Not the function that waits: lock_timeout would end that wait after 10 s.
TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))"
WAIT_SECONDS_MAX = 600.0  # chosen: an index on a large table takes minutes
LOOK_EVERY_SECONDS = 0.5
SAID_EVERY_SECONDS = 10.0
TABLE_TRIES = 6  # of lock_timeout (10 s) each, so that the service is held up for no longer than that at a time


class MigrationBusyError(Exception):
    """Migrations could not be applied in time; the text says what to do."""


async def hold_migration_lock(
    connection: asyncpg.Connection[asyncpg.Record],
    service: str,
    log: structlog.typing.FilteringBoundLogger | None,
    *,
    wait_seconds_max: float = WAIT_SECONDS_MAX,
) -> None:
    """Return once this session alone may migrate the service's schema. Raises MigrationBusyError after 10 minutes."""
    began, said = monotonic(), 0.0
    while not await connection.fetchval(TRY_LOCK, f"countersign.migrate.{service}"):
        waited = monotonic() - began
        if waited >= wait_seconds_max:
            raise MigrationBusyError(
                f"another process has been migrating this schema for more than {wait_seconds_max:.0f} s: look in "
                "pg_stat_activity at what it waits for, then run `migrate` again"
            )
        if log is not None and (said == 0.0 or monotonic() - said >= SAID_EVERY_SECONDS):
            said = monotonic()
            log.info(
                "migration_waits",
                reason="another process migrates this schema; this one goes on when that one is done",
                waited_seconds=round(waited),
            )
        await asyncio.sleep(LOOK_EVERY_SECONDS)


async def with_free_tables(
    name: str, apply: Callable[[], Awaitable[None]], log: structlog.typing.FilteringBoundLogger | None
) -> None:
    """Apply one migration; try again if its tables are in use. Raises MigrationBusyError after 6 tries of 10 s."""
    for tried in range(1, TABLE_TRIES + 1):
        try:
            await apply()
        except asyncpg.LockNotAvailableError:
            if tried == TABLE_TRIES:
                raise MigrationBusyError(
                    f"migration {name}: its tables are in use by long transactions; look in pg_stat_activity which "
                    "these are, then run `migrate` again"
                ) from None
            if log is not None:
                log.info("migration_waits", reason="its tables are in use; it is tried again", migration=name)
        else:
            return
