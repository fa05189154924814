"""The decisions' topic read again, by two at once, and full of what no verifier writes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from countersign.client import Grants
from countersign.contract import AccessGranted
from countersign.runtime.folding.fold import absorb
from countersign.runtime.messages.cloudevents import VALUE_BYTES_MAX
from countersign.runtime.messages.record import Record
from countersign.runtime.waker import Waker
from services.exports.fold import ObeyDecisions
from tests.support.events import clock
from tests.support.kafka import eventually, publish_raw, read_topic

if TYPE_CHECKING:
    from typing import TypeAlias
    from uuid import UUID

    from countersign.contract import AccessDenied
    from countersign.runtime.folding.fold import Fold
    from countersign.runtime.messages.record import Incoming, Outgoing
    from services.exports.model import Held, Outcome
    from tests.services.exports.exporting import Customer, Exporting

    Decision: TypeAlias = AccessGranted | AccessDenied
    Obeying: TypeAlias = Fold[Decision, Held, Outcome]

pytestmark = pytest.mark.servers

TEN = timedelta(minutes=10)
State = list[dict[str, Any]]


async def state_of(exports: Exporting, export_ids: list[UUID]) -> State:
    rows = await exports.pool.fetch(
        "SELECT e.*, f.content, s.spent_at FROM export e LEFT JOIN file f USING (export_id)"
        " LEFT JOIN spent_grant s ON s.request_id = e.export_id WHERE export_id = ANY($1::uuid[]) ORDER BY export_id",
        export_ids,
    )
    return [dict(row) for row in rows]


def a_fold(grants: Grants) -> Obeying:
    counter = Counter("exports", "For a test.", ("outcome",), registry=CollectorRegistry())
    return ObeyDecisions(grants, TEN, Waker(), counter, structlog.get_logger())


async def decisions_on(exports: Exporting, fold: Obeying, ids: set[UUID]) -> list[Incoming[Decision]]:
    records = await read_topic(exports.servers.kafka, AccessGranted.topic)
    ours = [record for record in records if any(str(one).encode() in (record.value or b"") for one in ids)]
    return [incoming for incoming in map(fold.parse, ours) if incoming is not None]


async def test_reading_the_topic_again_from_its_start_changes_nothing(exports: Exporting) -> None:
    """Granted, denied, granted late: each stays what it is."""
    customer = await exports.a_customer()
    ids = [await exports.ask(customer) for _ in range(3)]
    requests = [await exports.requested(one) for one in ids]
    await exports.publish(exports.granted(requests[0]), exports.denied(requests[1]), exports.granted(requests[2]))
    await exports.becomes(customer, ids[0], "ready")
    await exports.becomes(customer, ids[1], "denied")
    await exports.becomes(customer, ids[2], "ready")
    before = await state_of(exports, ids)
    async with (
        Grants(exports.settings.jwks_url) as grants,
        grants.keeping_fresh(lambda _trouble: None),
        exports.pool.acquire() as db,
    ):
        fold = a_fold(grants)
        batch = await decisions_on(exports, fold, set(ids))
        assert len(batch) >= 3
        for incoming in batch + batch[::-1]:
            folded = await absorb(db, fold, [incoming])
            assert not [*folded.due, *folded.dead, *folded.suspects]
    assert await state_of(exports, ids) == before


async def test_two_owners_of_a_partition_fold_the_same_batch_in_opposite_order(exports: Exporting) -> None:
    """No deadlock; every grant is spent once and every file written once."""
    customer = await exports.a_customer(rows=1)
    ids = [await exports.ask(customer) for _ in range(10)]
    requests = {one: await exports.requested(one) for one in ids}
    records: list[Outgoing] = [exports.granted(request) for request in requests.values()]
    async with Grants(exports.settings.jwks_url) as grants, grants.keeping_fresh(lambda _trouble: None):
        one, other = a_fold(grants), a_fold(grants)
        batch = [_incoming(one, record) for record in records]

        async def own(fold: Obeying, events: list[Incoming[Decision]]) -> None:
            async with exports.pool.acquire() as db:
                await absorb(db, fold, events)

        await asyncio.gather(own(one, batch), own(other, batch[::-1]))
    spent = "SELECT count(*) FROM spent_grant WHERE request_id = ANY($1::uuid[])"
    assert await exports.pool.fetchval(spent, list(requests)) == len(requests)

    async def written() -> bool:
        files = "SELECT count(*) FROM file WHERE export_id = ANY($1::uuid[])"
        return bool(await exports.pool.fetchval(files, list(requests)) == len(requests))

    await eventually(written, within=20)


def _incoming(fold: Obeying, record: Outgoing) -> Incoming[Decision]:
    parsed = fold.parse(Record(record.topic, 0, 0, record.key, record.value, record.headers, clock()))
    assert parsed is not None
    return parsed


def _headers(ce_type: str = AccessGranted.ce_type) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(uuid4()).encode()),
        ("ce_source", b"/test"),
        ("ce_type", ce_type.encode()),
        ("ce_time", b"2026-05-04T12:00:00Z"),
        ("content-type", b"application/json"),
    ]


BAD: dict[str, tuple[list[tuple[str, bytes]], bytes | None]] = {
    "not JSON": (_headers(), b"{"),
    "no value": (_headers(), None),
    "not an object": (_headers(), b"[]"),
    "missing fields": (_headers(), b"{}"),
    "ids that are none": (_headers(), b'{"request_id": "1", "account_id": 2}'),
    "control characters": (_headers(), b'{"request_id": "\\u0000"}'),
    "unknown type": (_headers("countersign.access.revoked.v1"), b"{}"),
    "unknown major version": (_headers("countersign.access.granted.v2"), b"{}"),
    "no type": ([], b"{}"),
    "longer than a record may be": (_headers(), b'"' + b"x" * 900_000 + b'"'),
}


@pytest.mark.parametrize("kind", BAD)
async def test_each_bad_record_is_a_dead_letter(exports: Exporting, kind: str) -> None:
    """At its place, cut to what a row may hold."""
    headers, value = BAD[kind]
    record = await publish_raw(exports.servers.kafka, AccessGranted.topic, b"bad", value, headers)

    async def kept() -> bool:
        found = await exports.pool.fetchrow(
            "SELECT kind, length(value) AS bytes FROM dead_letter"
            ' WHERE topic = $1 AND partition = $2 AND "offset" = $3',
            record.topic,
            record.partition,
            record.offset,
        )
        return found is not None and found["kind"] == "off_contract" and found["bytes"] <= VALUE_BYTES_MAX

    await eventually(kept)


async def test_a_thousand_bad_records_in_a_row_stop_nobody(exports: Exporting) -> None:
    """The right grant behind them still gets its file."""
    customer: Customer = await exports.a_customer()
    export_id = await exports.ask(customer)
    request = await exports.requested(export_id)
    right = exports.granted(request)
    bad = [type(right)(uuid4(), right.topic, right.key, b"{}" if n % 2 else b"no", right.headers) for n in range(1000)]
    await exports.publish(*bad, right)
    await exports.becomes(customer, export_id, "ready")
