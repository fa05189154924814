"""Outcomes of texts lock their rows in one order, whatever the order in which they came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from countersign.runtime.database.postgres import open_pool
from services.verifier import store_deliveries
from services.verifier.model import Asked, Delivered, Send
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers
WAITS = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE wait_event_type = 'Lock' AND query LIKE '%UPDATE send s%' AND pid <> pg_backend_pid())
"""


async def test_outcomes_that_end_nothing_lock_in_one_order(verifier: VerifierUnderTest) -> None:
    """Two owners of a partition in transition store the same outcomes, in batches that begin elsewhere."""
    member = await verifier.member()
    opened = sorted([await verifier.challenged(member) for _ in range(2)], key=lambda one: one[1], reverse=True)
    (_, high), (_, low) = opened
    pool = await open_pool(verifier.settings.postgres.dsn.get_secret_value(), "verifier", 3)
    # Rows are read in the order in which they lie: the higher one first.
    await pool.execute("UPDATE send SET code_digest = code_digest WHERE challenge_id = $1", high)
    await pool.execute("UPDATE send SET code_digest = code_digest WHERE challenge_id = $1", low)
    now = await pool.fetchval("SELECT now()")
    outcomes = []
    for event, challenge_id in opened:
        asked = Asked(event.request_id, event.account_id, event.user_id, event.action, event.digest, ())
        outcomes.append(Delivered(challenge_id, Send(1, now, "accepted"), asked, None))
    async with pool.acquire() as first, pool.acquire() as second, first.transaction():
        await first.execute("SELECT FROM send WHERE challenge_id = $1 FOR UPDATE", low)
        storing = asyncio.ensure_future(store_deliveries.deliver(second, outcomes))

        async def waits() -> bool:
            return bool(await pool.fetchval(WAITS))

        await eventually(waits)
        try:
            await first.execute("SELECT FROM send WHERE challenge_id = $1 FOR UPDATE NOWAIT", high)
        except asyncpg.LockNotAvailableError:
            pytest.fail("the higher one was locked before the lower one")
    await storing
    states = await pool.fetch("SELECT state FROM send WHERE challenge_id = ANY($1)", [high, low])
    assert [row["state"] for row in states] == ["accepted", "accepted"]
    await pool.close()
