"""The gateway's statements on real tables: which sessions an event ends, and in which order rows are locked."""

from __future__ import annotations

import asyncio
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from countersign.contract import Actor, NumberReset
from countersign.runtime.database.postgres import open_pool
from countersign.runtime.retention import apply
from services.gateway import fold, store
from services.gateway.decide import COMMITTED_WITHIN, PLACE_RATE
from services.gateway.model import Person, Try
from services.gateway.retention import RULES
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from countersign.runtime.database.postgres import Pool
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

SECOND = timedelta(seconds=1)
_HASH = "$argon2id$"  # of nobody's password
BEGIN = """
INSERT INTO session (id, site, stage, user_id, request_id, method, begun_at, used_at, password_at, login_at)
VALUES ($1, 'pages', 'signed_in', $2, $3, 'sms', $4, now(), now(), $5)
"""


@pytest.fixture
async def pool(servers: Servers) -> AsyncIterator[Pool]:
    """Open a pool as the gateway does."""
    opened = await open_pool(servers.dsn_of("gateway"), "gateway")
    yield opened
    await opened.close()


async def _a_person(pool: Pool) -> Person:
    person = Person(
        user_id=uuid4(), account_id=uuid4(), email=f"{uuid4()}@example.com", name="Ada", staff=False, password=_HASH
    )
    async with pool.acquire() as db:
        await store.seed_person(db, person)
    return person


async def _a_session(pool: Pool, user_id: UUID, begun_at: datetime, login_at: datetime | None) -> bytes:
    session_id = secrets.token_bytes(32)
    await pool.execute(BEGIN, session_id, user_id, uuid4(), begun_at, login_at)
    return session_id


async def test_an_event_ends_the_sessions_whose_login_is_older_and_no_others(pool: Pool) -> None:
    """A number is reset at T; the log-in that it was reset for begins at T+5, and the event is read at T+20."""
    person = await _a_person(pool)
    now = await pool.fetchval("SELECT now()")
    reset_at = now - 20 * SECOND
    later = reset_at + 5 * SECOND
    meanwhile = reset_at + COMMITTED_WITHIN / 2
    ended = [
        await _a_session(pool, person.user_id, reset_at - SECOND, reset_at - 3 * SECOND),
        await _a_session(pool, person.user_id, reset_at - SECOND, None),
        await _a_session(pool, person.user_id, later, reset_at - SECOND),  # the password was given before
        await _a_session(pool, person.user_id, later, meanwhile),
    ]
    kept = [
        await _a_session(pool, person.user_id, later, later),
        await _a_session(pool, person.user_id, later + SECOND, later),
        await _a_session(pool, person.user_id, later, None),
    ]
    event = NumberReset(
        account_id=person.account_id,
        user_id=person.user_id,
        version=3,
        actor=Actor(kind="account_manager"),
        chain_head="A" * 43,
    )
    async with pool.acquire() as db, db.transaction():
        folding = fold.settings()
        outcome = fold.ending_of(event, reset_at, now)
        assert outcome is not None
        await folding.save(db, [outcome], now)
    left = await pool.fetch("SELECT id FROM session WHERE user_id = $1", person.user_id)
    assert {row["id"] for row in left} == set(kept)
    assert not set(kept) & set(ended)


async def test_the_session_of_a_grant_is_as_old_as_its_login(pool: Pool) -> None:
    """Not as old as the grant, and entering the password again does not make it younger."""
    person = await _a_person(pool)
    request_id, pending, signed_in = uuid4(), secrets.token_bytes(32), secrets.token_bytes(32)
    await pool.execute(
        "INSERT INTO session (id, site, stage, user_id, request_id, begun_at, used_at)"
        " VALUES ($1, 'pages', 'pending', $2, $3, now() - interval '40 seconds', now())",
        pending,
        person.user_id,
        request_id,
    )
    assert await store.sign_in(pool, pending, signed_in, request_id, "sms")
    await pool.execute("UPDATE session SET password_at = now() WHERE id = $1", signed_in)
    age = await pool.fetchval("SELECT now() - login_at FROM session WHERE id = $1", signed_in)
    assert age >= 40 * SECOND


async def test_a_try_that_is_given_back_and_one_that_is_taken_never_deadlock(pool: Pool) -> None:
    """Both wait for the middle key; whoever gets it goes on to the key that the other would hold in the other order.

    However PostgreSQL joins, a statement without an order locks the highest key first: it is first in the table and
    among the arguments.
    """
    high, middle, low = (first + secrets.token_bytes(31) for first in (b"\xff", b"\x80", b"\x00"))
    for key in (high, middle, low):
        await pool.execute("INSERT INTO password_try (key, full_until) VALUES ($1, now())", key)
    tries = [Try(key, PLACE_RATE) for key in (high, middle, low)]
    async with pool.acquire() as first:
        holding = first.transaction()
        await holding.start()
        await first.execute("SELECT FROM password_try WHERE key = $1 FOR UPDATE", middle)
        async with asyncio.TaskGroup() as both:
            both.create_task(store.take_try(pool, tries))
            await eventually(lambda: _waiting(pool, 1))
            both.create_task(store.give_back(pool, tries))
            await eventually(lambda: _waiting(pool, 2))
            await holding.rollback()
    left = await pool.fetch(
        "SELECT full_until - now() < $2 AS free FROM password_try WHERE key = ANY($1)", [high, middle, low], SECOND
    )
    assert [row["free"] for row in left] == [True] * 3


async def test_sweeping_waits_for_nobody(pool: Pool) -> None:
    """It locks in no order, so it passes over what others hold."""
    key = secrets.token_bytes(32)
    await pool.execute("INSERT INTO password_try (key, full_until) VALUES ($1, now() - interval '1 hour')", key)
    async with pool.acquire() as first, first.transaction():
        await first.execute("SELECT FROM password_try WHERE key = $1 FOR UPDATE", key)
        async with asyncio.timeout(5), pool.acquire() as other:
            await apply(other, RULES)
    async with pool.acquire() as other:
        await apply(other, RULES)
    assert await pool.fetchval("SELECT count(*) FROM password_try WHERE key = $1", key) == 0


async def _waiting(pool: Pool, count: int) -> bool:
    """Tell whether so many statements about tries wait for a lock, of a row or behind one another."""
    return count == await pool.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND query LIKE '%password_try%' AND pid <> pg_backend_pid()"
    )
