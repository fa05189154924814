"""What becomes of outbox rows when Kafka does not take them, on a real broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from countersign.runtime.publishing import outbox
from countersign.runtime.settings import KafkaSettings, LeaseSettings
from tests.support.frame import running
from tests.support.kafka import eventually, read_topic
from tests.support.odd_topics import NARROW, a_row, a_topic, commit, held_open, silent_topics, value
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from countersign.runtime.program.machine import Machine
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

SHORT = LeaseSettings(outbox=timedelta(seconds=2))
LEFT_OVER = """
INSERT INTO outbox (event_id, topic, key, value, headers, leased_until)
SELECT gen_random_uuid(), $1, 'k', 'v', '[]', now() - interval '1 minute' FROM generate_series(1, $2)
"""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Topics of which no record is acknowledged."""
    return silent_topics(monkeypatch)


async def test_a_record_that_the_broker_refuses_is_parked_and_no_other(servers: Servers) -> None:
    """Together they are too large for the topic; alone one is, and waits for somebody. /readyz stays as it is."""
    toy = await a_toy(servers)
    topic = await a_topic(servers.kafka, NARROW)
    small, large = [a_row(topic, 300) for _ in range(20)], a_row(topic, 5000)
    reasons: list[Any] = []
    with structlog.testing.capture_logs() as said:
        async with running(toy.service(), toy.settings()) as machine:
            await commit(machine, [*small[:10], large, *small[10:]])

            async def only_the_large_one_is_left() -> bool:
                reasons.append(machine.health.reasons)
                return await _rows(toy) == [(large.event_id, "MessageSizeTooLargeError")]

            await eventually(only_the_large_one_is_left, within=20)
            await eventually(lambda: _shows(machine, "countersign_outbox_rows", 1, state="parked"))
            assert value(machine, "countersign_publish_failures_total", topic=topic, kind="refused") == 1
    assert {record.key for record in await read_topic(servers.kafka, topic)} == {row.key for row in small}
    assert [line["event_id"] for line in said if line["event"] == "outbox_row_parked"] == [str(large.event_id)]
    assert not any(reasons)


async def test_a_row_in_flight_is_sent_once_however_long_it_flies(servers: Servers, silent: set[str]) -> None:
    """200 rows wait for longer than four leases; then each is on the topic once."""
    toy = await a_toy(servers)
    silent.add(topic := await a_topic(servers.kafka))
    rows = [a_row(topic) for _ in range(200)]
    async with running(toy.service(), toy.settings(leases=SHORT)) as machine:
        await commit(machine, rows)
        await eventually(lambda: _unready(machine), within=20)
        await asyncio.sleep(8)
        silent.discard(topic)
        await eventually(lambda: _count_is(toy, 0), within=30)
        await eventually(lambda: _ready(machine))
    keys = [record.key for record in await read_topic(servers.kafka, topic)]
    assert {row.key for row in rows} == set(keys)
    assert len(keys) == 200


async def test_a_topic_that_takes_nothing_keeps_no_other_waiting(servers: Servers, silent: set[str]) -> None:
    """However many rows are stuck, and however they came."""
    toy = await a_toy(servers)
    dead, well = await a_topic(servers.kafka, partitions=4), await a_topic(servers.kafka)
    silent.add(dead)
    async with running(toy.service(), toy.settings()) as machine:
        for _ in range(12):
            await commit(machine, [a_row(dead) for _ in range(500)])
        for _ in range(10):
            await commit(machine, [a_row(well)])
            await eventually(lambda: _has_none(toy, well), within=5)


async def test_a_sweeper_leases_no_row_that_there_is_no_room_for(
    servers: Servers, silent: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 12,000 rows that cannot leave, most are never touched; and the outbox is not counted with each helping."""
    toy = await a_toy(servers)
    silent.add(topic := await a_topic(servers.kafka))
    await toy.fetch(LEFT_OVER, topic, 12_000)
    looks = _counted(monkeypatch, toy.name)
    async with running(toy.service(), toy.settings(leases=SHORT), ready=False):
        await asyncio.sleep(10)
        (leased,) = await toy.fetch("SELECT count(*) AS n FROM outbox WHERE leased_until > now() - interval '1 second'")
    assert leased["n"] <= 1_000
    assert len(looks) <= 8


async def test_without_kafka_the_sweeper_pauses(servers: Servers) -> None:
    """The rows lie where they are: some are tried, now and then, and the others are neither leased nor written."""
    toy = await a_toy(servers)
    await toy.fetch(LEFT_OVER, toy.out, 12_000)
    settings = toy.settings(leases=SHORT).model_copy(update={"kafka": KafkaSettings(bootstrap_servers="127.0.0.1:9")})
    async with running(toy.service(), settings, ready=False) as machine:
        await eventually(lambda: _unready(machine))
        await asyncio.sleep(8)
        before = await _written(toy)
        await asyncio.sleep(8)
        after = await _written(toy)
    assert before <= 12_000
    assert after - before <= 400


async def test_rows_left_over_leave_when_kafka_is_back(servers: Servers, silent: set[str]) -> None:
    """Those that were given back are taken again, without a pause between the helpings."""
    toy = await a_toy(servers)
    silent.add(topic := await a_topic(servers.kafka))
    await toy.fetch(LEFT_OVER, topic, 12_000)
    async with running(toy.service(), toy.settings(leases=SHORT), ready=False) as machine:
        await eventually(lambda: _says(machine, topic), within=20)
        silent.discard(topic)
        await eventually(lambda: _count_is(toy, 0), within=60)
        await eventually(lambda: _ready(machine))
    assert len(await read_topic(servers.kafka, topic)) <= 12_500


async def test_a_process_ends_while_records_wait_for_an_acknowledgement(servers: Servers, silent: set[str]) -> None:
    """In bounded time, without a socket or a task that stays; the next one sends what was left."""
    toy = await a_toy(servers)
    silent.add(topic := await a_topic(servers.kafka))
    before = held_open()
    async with asyncio.timeout(40):
        async with running(toy.service(), toy.settings()) as machine:
            await commit(machine, [a_row(topic) for _ in range(300)])
            await eventually(lambda: _unready(machine), within=20)
    await eventually(lambda: _holds_no_more_than(before))
    silent.discard(topic)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _count_is(toy, 0), within=10)


def _counted(monkeypatch: pytest.MonkeyPatch, schema: str) -> list[object]:
    """Return a list that grows with each count of this outbox; other tests' services run in this process too."""
    looks: list[object] = []
    pending = outbox.pending

    async def counted(db: Any) -> Any:
        if schema in await db.fetchval("SELECT current_schema()"):
            looks.append(db)
        return await pending(db)

    monkeypatch.setattr(outbox, "pending", counted)
    return looks


async def _rows(toy: Toy) -> list[tuple[Any, Any]]:
    return [(row["event_id"], row["parked_reason"]) for row in await toy.fetch("SELECT * FROM outbox")]


async def _count_is(toy: Toy, wanted: int) -> bool:
    return await toy.count("outbox") == wanted


async def _has_none(toy: Toy, topic: str) -> bool:
    return not await toy.fetch("SELECT FROM outbox WHERE topic = $1", topic)


async def _written(toy: Toy) -> int:
    """Return how many updates the outbox has seen, some seconds ago."""
    (row,) = await toy.fetch(
        "SELECT n_tup_upd FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'outbox'", toy.name
    )
    return int(row["n_tup_upd"])


async def _shows(machine: Machine, name: str, wanted: float, **labels: str) -> bool:
    return value(machine, name, **labels) == wanted


async def _unready(machine: Machine) -> bool:
    return "kafka" in machine.health.reasons


async def _says(machine: Machine, words: str) -> bool:
    return words in machine.health.reasons.get("kafka", "")


async def _ready(machine: Machine) -> bool:
    return not machine.health.reasons


async def _holds_no_more_than(before: tuple[int, int]) -> bool:
    return all(now <= then for now, then in zip(held_open(), before, strict=True))
