"""Files and ends as due work: dying anywhere loses nothing and doubles nothing; time is the database's."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry, Counter

from countersign.runtime.retention import apply
from services.exports import contacts, retention, store
from services.exports.due import Ending, Writing
from services.exports.model import Granted
from services.exports.wiring import exports_counter
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool
    from services.exports.model import Export
    from tests.services.exports.exporting import Exporting


pytestmark = pytest.mark.servers

TEN = timedelta(minutes=10)


def a_counter() -> Counter:
    return Counter("exports", "For a test.", ("outcome",), registry=CollectorRegistry())


async def a_granted_export(exports: Exporting) -> Export:
    """Return an export that was granted while nobody writes files: its lease is put far ahead."""
    customer = await exports.a_customer()
    asking = store.Asking(
        export_id=uuid4(),
        account_id=customer.account_id,
        user_id=customer.user_id,
        list_id=customer.list_id,
        format="csv",
        asked=b"a" * 32,
        session=customer.session,
    )
    async with exports.pool.acquire() as db, db.transaction():
        export = await store.ask(db, asking, "Newsletter", 100, TEN)
        await store.save(db, [Granted(export)], TEN)
        await lease(db, export.export_id, "1 hour")
    return export


async def lease(db: Any, export_id: UUID, ahead: str) -> None:
    await db.execute(f"UPDATE export SET leased_until = now() + interval '{ahead}' WHERE export_id = $1", export_id)


async def row(pool: Pool, export_id: UUID) -> dict[str, Any]:
    found = await pool.fetchrow(
        "SELECT state, reason, content, (SELECT count(*) FROM frozen_contact z WHERE z.export_id = $1) AS frozen"
        " FROM export LEFT JOIN file USING (export_id) WHERE export_id = $1",
        export_id,
    )
    assert found is not None
    return dict(found)


async def test_a_writer_that_dies_leaves_the_file_to_the_next(exports: Exporting) -> None:
    """Taken, died; taken again after the lease; two who both wrote offer one file."""
    export = await a_granted_export(exports)
    writing = Writing(exports.pool, timedelta(minutes=15), a_counter())
    async with exports.pool.acquire() as db:
        first = await writing.act(export)  # and it dies here: nothing is settled
        assert (await row(exports.pool, export.export_id))["state"] == "granted"
        second = await writing.act(export)
        assert first == second
        async with db.transaction():
            await writing.settle(db, [second])
        settled = await row(exports.pool, export.export_id)
        assert (settled["state"], settled["frozen"]) == ("ready", 0)
        async with db.transaction():
            await writing.settle(db, [first])  # it was not dead, only slow
        assert await row(exports.pool, export.export_id) == settled
        assert await writing.act(export) is None


async def test_a_file_counts_as_ready_once_that_is_committed(exports: Exporting) -> None:
    """The database fails at the commit; the second try counts, once."""
    export = await a_granted_export(exports)
    registry = CollectorRegistry()
    writing = Writing(exports.pool, timedelta(minutes=15), exports_counter(registry))

    def ready() -> float | None:
        return registry.get_sample_value("countersign_exports_total", {"outcome": "ready"})

    file = await writing.act(export)
    async with exports.pool.acquire() as db:
        failing = db.transaction()
        await failing.start()
        await writing.settle(db, [file])
        await failing.rollback()
        assert not ready()
        async with db.transaction():
            settled = await writing.settle(db, [file])
        writing.committed(settled.done)
    assert ready() == 1


async def test_the_running_service_takes_over_when_the_lease_ends(exports: Exporting) -> None:
    """Nobody has to wake it."""
    export = await a_granted_export(exports)
    await asyncio.sleep(0.2)
    assert (await row(exports.pool, export.export_id))["state"] == "granted"
    await lease(exports.pool, export.export_id, "0 seconds")

    async def ready() -> bool:
        return bool((await row(exports.pool, export.export_id))["state"] == "ready")

    await eventually(ready)


async def test_contacts_that_are_not_those_approved_are_never_written(exports: Exporting) -> None:
    """The digest is made again of what is about to be written; then its time runs out."""
    export = await a_granted_export(exports)
    await exports.pool.execute(
        "UPDATE frozen_contact SET contact_id = $2 WHERE export_id = $1 AND position = 1", export.export_id, uuid4()
    )
    with pytest.raises(RuntimeError, match="not those that were approved"):
        await Writing(exports.pool, TEN, a_counter()).act(export)
    await over(exports.pool, export.export_id)

    async def ended() -> bool:
        return bool((await row(exports.pool, export.export_id))["state"] == "expired")

    await eventually(ended)
    found = await row(exports.pool, export.export_id)
    assert (found["reason"], found["content"], found["frozen"]) == ("file.unwritten", None, 0)


async def over(pool: Pool, export_id: UUID) -> None:
    """Let the time of an export be over, by the clock that counts."""
    await pool.execute(
        "UPDATE export SET expires_at = now() - interval '1 second', leased_until = now() WHERE export_id = $1",
        export_id,
    )


async def test_without_a_decision_an_export_expires(exports: Exporting) -> None:
    """And a grant that comes afterwards writes nothing."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    expires_at = await exports.pool.fetchval("SELECT expires_at - asked_at FROM export WHERE export_id = $1", export_id)
    assert expires_at == TEN
    await over(exports.pool, export_id)
    told = await exports.read(customer, export_id)  # at once, whether or not it was noted
    assert (told["state"], told["reason"], told["expires_at"]) == ("expired", "decision.missing", None)

    async def noted() -> bool:
        return bool((await row(exports.pool, export_id))["state"] == "expired")

    await eventually(noted)
    await exports.publish(exports.granted(request), exports.denied(request))
    await asyncio.sleep(0.5)
    assert (await exports.read(customer, export_id))["reason"] == "decision.missing"
    assert (await row(exports.pool, export_id))["frozen"] == 0
    assert (await exports.file(customer, export_id)).status == 410


async def test_a_file_is_offered_for_fifteen_minutes(exports: Exporting) -> None:
    """Then it is gone, from the table too."""
    customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    await exports.publish(exports.granted(await exports.requested(export_id)))
    await exports.becomes(customer, export_id, "ready")
    for _ in range(2):  # as often as wanted
        assert (await exports.file(customer, export_id)).status == 200
    left = await exports.pool.fetchval("SELECT expires_at - now() FROM export WHERE export_id = $1", export_id)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    await over(exports.pool, export_id)
    assert (await exports.file(customer, export_id)).status == 410
    assert (await exports.read(customer, export_id))["reason"] == "file.expired"

    async def gone() -> bool:
        return (await row(exports.pool, export_id))["content"] is None

    await eventually(gone)


async def test_an_end_that_was_overtaken_ends_nothing(exports: Exporting) -> None:
    """Seen as over, and granted before it was noted."""
    export = await a_granted_export(exports)
    async with exports.pool.acquire() as db, db.transaction():
        await Ending(a_counter()).settle(db, [export])
    assert (await row(exports.pool, export.export_id))["state"] == "granted"


async def test_what_nobody_can_ask_for_any_more_is_forgotten(exports: Exporting) -> None:
    """After 40 days; what is younger, or not over, stays."""
    old, young = await a_granted_export(exports), await a_granted_export(exports)
    ended = "UPDATE export SET state = 'expired', reason = 'file.expired', expires_at = NULL"
    await exports.pool.execute(f"{ended}, asked_at = now() - interval '41 days' WHERE export_id = $1", old.export_id)
    await exports.pool.execute(f"{ended} WHERE export_id = $1", young.export_id)
    await exports.pool.execute(
        "UPDATE spent_grant SET spent_at = now() - interval '41 days' WHERE request_id = $1", old.export_id
    )
    async with exports.pool.acquire() as db, db.transaction():
        await apply(db, retention.RULES)
    ids = [old.export_id, young.export_id]
    kept = await exports.pool.fetch("SELECT export_id FROM export WHERE export_id = ANY($1::uuid[])", ids)
    spent = await exports.pool.fetch("SELECT request_id FROM spent_grant WHERE request_id = ANY($1::uuid[])", ids)
    assert [r["export_id"] for r in kept] == [r["request_id"] for r in spent] == [young.export_id]


async def test_a_second_seed_changes_nothing(exports: Exporting) -> None:
    """The demonstration is put in once."""
    customer = await exports.a_customer(rows=1)
    renamed = {"list_id": str(customer.list_id), "name": "Renamed", "contacts": []}
    await contacts.seed(exports.pool, None, {"account_id": str(customer.account_id), "lists": [renamed]})
    told = await exports.call("GET", f"/v1/accounts/{customer.account_id}/lists")
    assert [one["name"] for one in told.body["lists"]] == ["Newsletter"]
