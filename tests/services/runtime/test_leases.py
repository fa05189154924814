"""How long leased work is left alone is a setting, and every process goes by its own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from countersign.runtime.database import leases
from countersign.runtime.database.postgres import Link, open_pool
from countersign.runtime.publishing import outbox
from countersign.runtime.settings import LeaseSettings
from tests.support.frame import running
from tests.support.kafka import eventually
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

LEASED = "SELECT leased_until - now() FROM outbox"
AS_SHIPPED = {"outbox": timedelta(seconds=15), "due": timedelta(seconds=30)}


def _leases(outbox_seconds: float, due_seconds: float) -> LeaseSettings:
    return LeaseSettings(outbox=timedelta(seconds=outbox_seconds), due=timedelta(seconds=due_seconds))


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({}, AS_SHIPPED),
        (leases.parameters(LeaseSettings()), AS_SHIPPED),
        (leases.parameters(_leases(2.5, 4)), {"outbox": timedelta(seconds=2.5), "due": timedelta(seconds=4)}),
    ],
)
async def test_a_connection_carries_the_lengths(
    servers: Servers, parameters: dict[str, str], wanted: dict[str, timedelta]
) -> None:
    """A connection of one's own and one of a pool; without any, they are those of the defaults."""
    toy = await a_toy(servers)
    link = Link(toy.dsn, toy.name, parameters=parameters)
    pool = await open_pool(toy.dsn, toy.name, parameters=parameters)
    async with link.use() as own, pool.acquire() as pooled:
        for db in (own, pooled):
            async with db.transaction():
                await outbox.append(db, [toy.added()])
                assert await db.fetchval(LEASED) == wanted["outbox"]
                await db.execute("DELETE FROM outbox")
            assert await db.fetchval(f"SELECT {leases.DUE}") == wanted["due"]
    await link.close()
    await pool.close()


async def test_what_a_dead_process_left_is_published_when_its_lease_is_over(servers: Servers) -> None:
    """The row is leased by the settings of the process that died; nobody shortens the lease afterwards."""
    toy = await a_toy(servers)
    short = _leases(2, 2)
    dead = Link(toy.dsn, toy.name, parameters=leases.parameters(short))
    async with dead.use() as db:
        await outbox.append(db, [toy.added()])
        over = await db.fetchval("SELECT leased_until FROM outbox")
    await dead.close()
    async with running(toy.service(), toy.settings(leases=short)):
        await eventually(lambda: _is_empty(toy))
    (now,) = await toy.fetch("SELECT now() AS now")
    assert now["now"] >= over


async def _is_empty(toy: Any) -> bool:
    return bool(await toy.count("outbox") == 0)


@pytest.mark.parametrize(("outbox_seconds", "due_seconds"), [(1.9, 30), (61, 30), (15, 1.9), (15, 121)])
def test_a_lease_stays_within_its_bounds(outbox_seconds: float, due_seconds: float) -> None:
    """Each from both sides."""
    with pytest.raises(ValidationError):
        _leases(outbox_seconds, due_seconds)


def test_the_lengths_are_listed_with_their_sources() -> None:
    """As `make limits` prints them."""
    listed = {limit.name: limit for limit in leases.limits(LeaseSettings())}
    assert {name: limit.value for name, limit in listed.items()} == {"leases.outbox": "15 s", "leases.due": "30 s"}
    assert all(limit.source for limit in listed.values())
