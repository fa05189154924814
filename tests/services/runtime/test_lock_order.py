"""Rows that two sessions write are locked in one order, however PostgreSQL finds them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from countersign.operations.letters import Choice, Desk
from countersign.runtime.publishing.outbox import FORGET
from tests.support.kafka import eventually
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HIGH, MIDDLE, LOW = 3, 2, 1
OUTBOX = """
INSERT INTO outbox (event_id, topic, key, value, headers, leased_until) VALUES ($1, 't', 'k', 'v', '[]', now())
"""
LETTER = """
INSERT INTO dead_letter (topic, partition, "offset", value_bytes, value_sha256, headers, appended_at, kind, cause,
                         state, tries)
VALUES ('t', 0, $1, 0, '', '[]', $2, 'bug', '', 'new', 3)
"""
# Two plans that PostgreSQL may choose: in the order of the table, where the highest row comes first, and by index.
OF_THE_TABLE = "SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off"
OF_THE_INDEX = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off"


@dataclass
class Sessions:
    """Three sessions of a toy's schema; two of them find rows in opposite order."""

    toy: Toy
    by_table: asyncpg.Connection
    by_index: asyncpg.Connection
    third: asyncpg.Connection

    async def meet(self, locking: str, write: Callable[[asyncpg.Connection], Awaitable[object]]) -> None:
        """Let both write the same three rows while the third session holds the one in the middle, then let it go.

        Whoever gets the middle row goes on to the row that the other would hold.
        """
        holding = self.third.transaction()
        await holding.start()
        await self.third.execute(locking)
        async with asyncio.TaskGroup() as both:
            both.create_task(_awaited(write(self.by_table)))
            await eventually(lambda: self._waiting(1))
            both.create_task(_awaited(write(self.by_index)))
            await eventually(lambda: self._waiting(2))
            await holding.rollback()

    async def _waiting(self, count: int) -> bool:
        pids = [self.by_table.get_server_pid(), self.by_index.get_server_pid()]
        sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = ANY($1)"
        return bool((await self.toy.fetch(sql, pids))[0]["n"] == count)


async def _awaited(writing: Awaitable[object]) -> None:
    await writing


@pytest.fixture
async def sessions(servers: Servers) -> AsyncIterator[Sessions]:
    """Open them, each as PostgreSQL's administrator."""
    toy = await a_toy(servers)
    async with AsyncExitStack() as stack:
        opened = []
        for plan in (OF_THE_TABLE, OF_THE_INDEX, "SELECT 1"):
            db = await asyncpg.connect(toy.dsn, server_settings={"search_path": toy.name})
            stack.push_async_callback(db.close)
            await db.execute(plan)
            opened.append(db)
        yield Sessions(toy, *opened)


async def test_two_who_forget_the_same_outbox_rows_never_deadlock(sessions: Sessions) -> None:
    """A row that was published twice, after a lease had ended, is forgotten twice."""
    for number in (HIGH, MIDDLE, LOW):
        await sessions.third.execute(OUTBOX, UUID(int=number))
    ids = [UUID(int=number) for number in (HIGH, MIDDLE, LOW)]
    await sessions.meet(
        f"SELECT FROM outbox WHERE event_id = '{UUID(int=MIDDLE)}' FOR UPDATE", lambda db: db.execute(FORGET, ids)
    )
    assert await sessions.toy.count("outbox") == 0


async def test_two_who_unpark_the_same_letters_never_deadlock(sessions: Sessions) -> None:
    """Both give them their tries back."""
    for number in (HIGH, MIDDLE, LOW):
        await sessions.third.execute(LETTER, number, NOON)

    async def unpark(db: asyncpg.Connection) -> int:
        return await Desk(db, sessions.toy.name, "a test", "to see").unpark(Choice(topic="t"))

    await sessions.meet(f'SELECT FROM dead_letter WHERE "offset" = {MIDDLE} FOR UPDATE', unpark)
    assert await sessions.toy.count("dead_letter WHERE tries = 0") == 3
