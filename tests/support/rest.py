"""Waiting until nothing is left to do: only then do the invariants say what they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer

from tests.support.world import READ_BY, SCHEMAS, committed_offsets

if TYPE_CHECKING:
    import asyncpg

# As shipped a claim is settled within 40 s and an outbox row is leased for 15 s; twice over, on busy cores.
REST_WITHIN = 120.0
_LOOK_WITHIN = 20.0

_OWED = {
    "verifier.challenge": "SELECT count(*) FROM verifier.challenge WHERE closed_at IS NULL",
    "notifier.dispatch": "SELECT count(*) FROM notifier.dispatch WHERE state IN ('due', 'claimed')",
    "notifier.notice": "SELECT count(*) FROM notifier.notice WHERE state IN ('due', 'claimed')",
    "verifier.send": "SELECT count(*) FROM verifier.send WHERE state = 'sending'",
    "exports.export": "SELECT count(*) FROM exports.export WHERE state IN ('waiting', 'granted')",
    **{f"{name}.outbox": f"SELECT count(*) FROM {name}.outbox" for name in SCHEMAS},
    **{f"{name}.dead_letter": f"SELECT count(*) FROM {name}.dead_letter WHERE state = 'redrive'" for name in SCHEMAS},
}


async def come_to_rest(bootstrap: str, db: asyncpg.Pool[asyncpg.Record], within: float = REST_WITHIN) -> None:
    """Wait until nothing is owed and everything is read. Raises AssertionError with what is left."""
    left: dict[str, int] = {}
    try:
        async with asyncio.timeout(within):
            while left := await _left(bootstrap, db):  # noqa: ASYNC110 - servers set no event
                await asyncio.sleep(0.5)
    except TimeoutError:
        raise AssertionError(f"not at rest after {within:.0f} s: {left}") from None


async def _left(bootstrap: str, db: asyncpg.Pool[asyncpg.Record]) -> dict[str, int]:
    """Look once. A client that hangs, as one can whose broker has just been frozen, is given up."""
    try:
        async with asyncio.timeout(_LOOK_WITHIN):
            return await owed(db) or await unread(bootstrap)
    except TimeoutError:
        return {"looks that hang": 1}


async def owed(db: asyncpg.Pool[asyncpg.Record]) -> dict[str, int]:
    """Return how many rows of each table are not at their end."""
    counts = {name: await db.fetchval(sql) for name, sql in _OWED.items()}
    return {name: count for name, count in counts.items() if count}


async def unread(bootstrap: str) -> dict[str, int]:
    """Return how many records each service has not committed, by service and topic."""
    committed = await committed_offsets(bootstrap)
    topics = sorted({topic for read in READ_BY.values() for topic in read})
    consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap)
    await consumer.start()  # without a group it is given all partitions at once
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
    finally:
        await consumer.stop()
    found: Counter[str] = Counter()
    for service, read in READ_BY.items():
        for place, end in ends.items():
            if place.topic in read:
                known = max(0, committed[service].get((place.topic, place.partition), 0))
                found[f"{service} < {place.topic}"] += end - known
    return {name: behind for name, behind in found.items() if behind}
