"""What one page, one text or one forgetting costs does not grow with the account, nor hold up other accounts."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from services.exports.contacts import LISTS
from services.notifier.store import DUE
from services.risk_evaluator.model import Forgetting
from services.risk_evaluator.store_places import LIVE
from services.verifier.wiring import SERVICE as VERIFIER
from tests.support.assessments import a_lesson, connected, uses
from tests.support.events import clock
from tests.support.frame import running
from tests.support.verifier import settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(loop_scope="session")
async def db(servers: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Lend a superuser's connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(servers.postgres_dsn)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def plan_of(db: asyncpg.Connection, statement: str, *arguments: object) -> str:
    lines = await db.fetch(f"EXPLAIN (COSTS OFF) {statement}", *arguments)
    return "\n".join(line[0] for line in lines)


async def test_a_page_of_lists_reads_no_contact(db: asyncpg.Connection) -> None:
    """And shows how many there are, however they came and went."""
    await db.execute("SET LOCAL search_path = exports")
    assert "contact_list" in (plan := await plan_of(db, LISTS, uuid4()))
    assert " on contact " not in f"{plan} ".replace("\n", " \n"), plan
    account, one, other = uuid4(), uuid4(), uuid4()
    for list_id in (one, other):
        await db.execute("INSERT INTO contact_list (list_id, account_id, name) VALUES ($1, $2, 'l')", list_id, account)

    async def rows() -> dict[UUID, int]:
        return {row["list_id"]: row["rows"] for row in await db.fetch(LISTS, account)}

    await db.execute(
        "INSERT INTO contact (contact_id, list_id, email, name) "
        "SELECT gen_random_uuid(), CASE WHEN n > 2 THEN $1::uuid ELSE $2::uuid END, 'e', 'n' "
        "FROM generate_series(1, 7) AS n",
        *(one, other),
    )
    assert await rows() == {one: 5, other: 2}
    await db.execute("UPDATE contact SET list_id = $2 WHERE list_id = $1", one, other)
    assert await rows() == {one: 0, other: 7}
    await db.execute("DELETE FROM contact WHERE list_id = $1", other)
    assert await rows() == {one: 0, other: 0}


async def test_a_claim_counts_no_members(db: asyncpg.Connection) -> None:
    """It reads how many there are, which is right after members came, were removed and came back."""
    await db.execute("SET LOCAL search_path = notifier")
    plan = await plan_of(db, DUE.replace("FOR UPDATE OF d SKIP LOCKED", ""), 10, True)
    assert "Aggregate" not in plan, plan
    account, users = uuid4(), [uuid4() for _ in range(3)]
    await db.execute("INSERT INTO enrolment.account (account_id) VALUES ($1)", account)
    for user in users:
        await db.execute(
            "INSERT INTO enrolment.member (user_id, account_id, version, role, name) "
            "VALUES ($1, $2, 1, 'managed', 'A')",
            *(user, account),
        )
        await db.execute(
            "INSERT INTO enrolment.phone_number (number_id, user_id, state, hint, country, sealed, key_id, "
            "fingerprint, provided_at) VALUES ($1, $1, 'confirmed', 'h', 'SE', 's', 'k', 'f', now())",
            user,
        )

    async def members() -> set[int]:
        found = await db.fetch(
            "SELECT account_members FROM enrolment.sealed_number WHERE number_id = ANY($1::uuid[])", users
        )
        return {row["account_members"] for row in found}

    assert await members() == {3}
    await db.execute("UPDATE enrolment.member SET role = NULL, name = NULL WHERE user_id = $1", users[0])
    assert await members() == {2}
    await db.execute("UPDATE enrolment.member SET role = 'owner', name = 'B' WHERE user_id = $1", users[0])
    await db.execute("UPDATE enrolment.member SET role = 'managed' WHERE user_id = $1", users[0])
    assert await members() == {3}


async def test_a_forgetting_holds_up_no_other_account(servers: Servers) -> None:
    """Others learn before it commits; of the table it has no lock that a learner meets."""
    forgotten, other = a_lesson(), a_lesson()
    forgetting = Forgetting(account_id=forgotten.account_id, user_id=None, place=None, forgotten_at=clock())
    async with connected(servers) as forgetter, connected(servers) as learner:
        await learner.execute("SET lock_timeout = '5s'")
        async with forgetter.transaction():
            await LIVE.forget(forgetter, [forgetting])
            held = await forgetter.fetch(
                "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'place'::regclass"
            )
            assert {row["mode"] for row in held} <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
            await LIVE.learn(learner, [other])
            await learner.execute("SET lock_timeout = '300ms'")
            with pytest.raises(asyncpg.LockNotAvailableError):
                await LIVE.learn(learner, [forgotten])
        assert await uses(learner, other.account_id)
        await LIVE.learn(learner, [forgotten])
        assert not await uses(learner, forgotten.account_id)
        await LIVE.learn(
            learner, [a_lesson(account_id=forgotten.account_id, granted_at=clock() + timedelta(seconds=1))]
        )
        assert await uses(learner, forgotten.account_id)


async def test_the_published_keys_take_no_connection(servers: Servers) -> None:
    """Anybody may ask for them: while all connections of the pool are lent, they are answered as before."""
    settings = settings_of(servers)
    url = f"http://127.0.0.1:{settings.http.port}/.well-known/jwks.json"
    async with AsyncExitStack() as stack:
        machine = await stack.enter_async_context(running(VERIFIER, settings))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)))
        async with http.get(url) as reply:
            published = await reply.json()
        pool = machine._frame.pool  # noqa: SLF001 - the one that routes share
        for _ in range(pool.get_max_size()):
            await stack.enter_async_context(pool.acquire())
        for _ in range(3):
            async with http.get(url) as reply:
                assert await reply.json() == published
