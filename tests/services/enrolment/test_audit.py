"""The audit of settings on real servers: what is done to the table behind the service's back is told by the topic."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import asyncpg
import pytest

from countersign.contract import Actor
from countersign.runtime.database.postgres import open_pool
from services.enrolment import changes
from services.enrolment.audit.verify import verify
from services.enrolment.chain import FIRST_HEAD, chained
from services.enrolment.model import Change
from tests.support.enrolment import settings_of
from tests.support.events import a_number_provided, outgoing
from tests.support.kafka import publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Connection
    from services.enrolment.chain import Link
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

COPY = """
INSERT INTO setting_change
SELECT account_id, $3, kind, user_id, actor_kind, actor_id, 'never said', ticket, number_id, old_number_id, place, at,
       chain_head, ip
  FROM setting_change WHERE account_id = $1 AND version = $2
"""
SWAP = """
UPDATE setting_change c SET version = CASE version WHEN $2 THEN $3::bigint ELSE $2::bigint END + $4::bigint
 WHERE account_id = $1 AND version IN ($2, $3)
"""


@dataclass
class Books:
    """An account with four changes in its table and on the topic, and whoever can write the table."""

    servers: Servers
    capsys: pytest.CaptureFixture[str]
    thief: Connection
    account_id: UUID = field(default_factory=uuid4)

    async def verdicts(self) -> list[tuple[str, str]]:
        """Return version and verdict of what `verify-audit` prints of this account; its exit status goes with it."""
        pool = await open_pool(self.servers.dsn_of("enrolment"), "enrolment")
        try:
            self.capsys.readouterr()
            status = await verify(pool, settings_of(self.servers))
        finally:
            await pool.close()
        lines = [line.split("\t") for line in self.capsys.readouterr().out.splitlines()]
        found = [(line[1], line[2]) for line in lines if line[0] == str(self.account_id)]
        assert status == 1 or not found
        return found

    async def steal(self, sql: str, *values: object) -> None:
        """Write the table past its trigger, as a superuser can."""
        await self.thief.execute(sql, self.account_id, *values)

    async def recompute(self) -> None:
        """Give all rows numbers and heads anew, so that the table alone agrees with itself."""
        links = await changes.links_of(self.thief, self.account_id)
        anew: list[Link] = []
        for link in links:
            last = anew[-1] if anew else None
            anew += chained(last.head if last else FIRST_HEAD, len(anew), [link.change], link.at)
        for was, link in zip(links, anew, strict=True):
            await self.steal(
                "UPDATE setting_change SET version = $3, chain_head = $4 WHERE account_id = $1 AND version = $2",
                was.version,
                link.version,
                link.head,
            )
        await self.steal(
            "UPDATE account SET version = $2, chain_head = $3 WHERE account_id = $1", len(anew), anew[-1].head
        )


@asynccontextmanager
async def thief_of(servers: Servers) -> AsyncIterator[Connection]:
    """Connect as a superuser whose session fires no trigger."""
    settings = {"session_replication_role": "replica", "search_path": "enrolment"}
    connection = await asyncpg.connect(servers.postgres_dsn, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def books(desk: Desk, servers: Servers, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Books]:
    """Lend an account whose books are right."""
    async with thief_of(servers) as thief:
        found = Books(servers, capsys, thief)
        await desk.db.execute("INSERT INTO account (account_id) VALUES ($1)", found.account_id)
        user_id, manager = uuid4(), Actor(kind="account_manager", id=str(uuid4()))
        change = Change(kind="number.provided", account_id=found.account_id, actor=manager, user_id=user_id)
        await keep(
            desk.db,
            servers,
            replace(change, number_id=uuid4(), ip="203.0.113.7"),
            replace(change, kind="two_factor.enabled", user_id=None),
            replace(change, kind="two_factor.disabled", user_id=None, reason="asked by telephone", ticket="SUP-1"),
            replace(change, kind="user.unlocked", reason="locked out", ticket="SUP-2"),
        )
        yield found


async def keep(db: Connection, servers: Servers, *kept: Change, told: bool = True) -> None:
    """Keep changes as the service does, and publish them or leave them in the outbox."""
    async with db.transaction():
        now = await db.fetchval("SELECT now()")
        due = list(await changes.keep(db, kept, now))
    if told:
        await publish(servers.kafka, *due, *due[:1])  # one of them twice, as after a crash
        await db.execute("DELETE FROM outbox WHERE event_id = ANY($1::uuid[])", [one.event_id for one in due])


async def test_books_that_are_right(books: Books, desk: Desk, servers: Servers) -> None:
    """Also while a change is in the table and its event still in the outbox."""
    assert await books.verdicts() == []
    change = Change(kind="places.forgotten", account_id=books.account_id, actor=Actor(kind="system"))
    await keep(desk.db, servers, change, told=False)
    assert await books.verdicts() == []


@pytest.mark.parametrize("recomputed", [False, True])
async def test_a_changed_row(books: Books, *, recomputed: bool) -> None:
    """The reason is rewritten; whoever computes the later heads anew is told of by the topic."""
    await books.steal("UPDATE setting_change SET reason = 'of my own' WHERE account_id = $1 AND version = 3")
    if recomputed:
        await books.recompute()
        assert await books.verdicts() == [("version 3", "changed")]
    else:
        assert await books.verdicts() == [("version 3", "changed")]


@pytest.mark.parametrize("recomputed", [False, True])
async def test_a_changed_address(books: Books, *, recomputed: bool) -> None:
    """The event does not hold it, but its head covers it."""
    await books.steal("UPDATE setting_change SET ip = '198.51.100.9' WHERE account_id = $1 AND version = 1")
    if recomputed:
        await books.recompute()
    assert ("version 1", "changed") in await books.verdicts()


async def test_a_removed_row(books: Books) -> None:
    """In the middle, without a trace elsewhere."""
    await books.steal("DELETE FROM setting_change WHERE account_id = $1 AND version = 2")
    assert await books.verdicts() == [("version 2", "removed")]


async def test_a_removed_row_whose_gap_is_closed(books: Books) -> None:
    """Later rows moved up and computed anew: they are what later versions were told to be, and the last is missing."""
    await books.steal("DELETE FROM setting_change WHERE account_id = $1 AND version = 2")
    await books.recompute()
    assert await books.verdicts() == [("version 2", "swapped"), ("version 3", "swapped"), ("version 4", "removed")]


async def test_the_last_row_removed(books: Books) -> None:
    """With the account set back to the row before, the chain agrees with itself; the topic knows better."""
    await books.steal("DELETE FROM setting_change WHERE account_id = $1 AND version = 4")
    assert await books.verdicts() == [("version 4", "removed")]
    await books.recompute()
    assert await books.verdicts() == [("version 4", "removed")]


@pytest.mark.parametrize("recomputed", [False, True])
async def test_swapped_rows(books: Books, *, recomputed: bool) -> None:
    """Two changes in the order that they were not made in."""
    await books.steal(SWAP, 2, 3, 1000)
    await books.steal("UPDATE setting_change SET version = version - 1000 WHERE account_id = $1 AND version > 1000")
    if recomputed:
        await books.recompute()
    assert await books.verdicts() == [("version 2", "swapped"), ("version 3", "swapped")]


@pytest.mark.parametrize("recomputed", [False, True])
async def test_a_forged_row(books: Books, *, recomputed: bool) -> None:
    """An act that nobody did, put at the end."""
    await books.steal(COPY, 3, 5)
    if recomputed:
        await books.recompute()
    assert ("version 5", "forged") in await books.verdicts()


async def test_heads_computed_anew_over_nothing_changed_since(books: Books) -> None:
    """A row changed, computed anew, and its fields put back: the later heads still tell."""
    await books.steal("UPDATE setting_change SET chain_head = sha256(chain_head) WHERE account_id = $1 AND version = 4")
    assert await books.verdicts() == [("version 4", "changed")]


async def test_an_event_that_the_table_never_had(books: Books, servers: Servers) -> None:
    """A second event under a version that was told already."""
    other = a_number_provided(account_id=books.account_id, version=1)
    await publish(servers.kafka, outgoing(other, source="enrolment"))
    assert await books.verdicts() == [("version 1", "forged")]


async def test_an_account_that_is_gone(books: Books) -> None:
    """All of its rows are missed."""
    await books.steal("DELETE FROM setting_change WHERE account_id = $1")
    await books.steal("DELETE FROM account WHERE account_id = $1")
    assert await books.verdicts() == [(f"version {version}", "removed") for version in (1, 2, 3, 4)]
