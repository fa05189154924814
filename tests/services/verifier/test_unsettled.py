"""How long the oldest text has been issued without an outcome, as /metrics shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from services.verifier.unsettled import UnsettledTexts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    import asyncpg

    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers
BACK = "UPDATE verifier.send SET issued_at = now() - make_interval(secs => $2) WHERE challenge_id = $1"
SAY = "UPDATE verifier.send SET state = 'accepted' WHERE challenge_id = $1"
CLOSE = "UPDATE verifier.challenge SET closed_at = now() WHERE challenge_id = $1"


@pytest_asyncio.fixture
async def db(verifier: VerifierUnderTest) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """Lend a connection whose changes are rolled back, and that sees no text of an earlier test."""
    async with verifier.db.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("SET LOCAL search_path TO verifier")
        await connection.execute("UPDATE verifier.send SET state = 'accepted' WHERE state = 'sending'")
        yield connection
        await transaction.rollback()


async def oldest(db: asyncpg.Connection[asyncpg.Record]) -> float:
    registry = CollectorRegistry()
    await UnsettledTexts(registry).look(db)
    return registry.get_sample_value("countersign_texts_unsettled_oldest_seconds") or 0.0


async def waiting(verifier: VerifierUnderTest, db: asyncpg.Connection[asyncpg.Record], seconds: float) -> UUID:
    _, challenge_id = await verifier.challenged(await verifier.member())
    await db.execute(BACK, challenge_id, seconds)
    return challenge_id


async def test_the_oldest_text_without_an_outcome_counts(
    verifier: VerifierUnderTest, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Until somebody says what became of it, or its challenge is over."""
    assert await oldest(db) == 0
    first, second, third = [await waiting(verifier, db, seconds) for seconds in (200, 90, 40)]
    assert 200 <= await oldest(db) < 210
    await db.execute(SAY, first)
    assert 90 <= await oldest(db) < 100
    await db.execute(CLOSE, second)
    assert 40 <= await oldest(db) < 50
    await db.execute(SAY, third)
    assert await oldest(db) == 0


async def test_it_is_asked_every_few_seconds_and_no_more(
    verifier: VerifierUnderTest, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The expiry of challenges looks twice a second; the first look counts."""
    registry = CollectorRegistry()
    texts = UnsettledTexts(registry)
    await texts.look(db)
    await waiting(verifier, db, 100)
    await texts.look(db)
    assert registry.get_sample_value("countersign_texts_unsettled_oldest_seconds") == 0
