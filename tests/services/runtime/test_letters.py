"""Dead letters of a topic that was made anew, of long ago, and of a flood."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from countersign.operations.letters import Choice, Desk, Letters
from countersign.runtime.folding import whole_letters
from countersign.runtime.folding.recheck import recheck
from countersign.runtime.messages.record import Outgoing
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

STATES = "SELECT kind, state, whole, value, record_key, headers, source FROM dead_letter ORDER BY kept_at"


@pytest.fixture
async def toy(servers: Servers) -> Toy:
    return await a_toy(servers, partitions=1)


async def test_letters_of_a_topic_that_was_made_anew_are_kept_beside_the_old_ones(toy: Toy) -> None:
    """The new record at the old offset waits for its key, and is folded when that comes."""
    bad = toy.added()
    await publish(toy.servers.kafka, Outgoing(uuid4(), toy.topic, b"same", b"{nope", bad.headers))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "dead_letter", 1))
    await _make_anew(toy)
    await publish(toy.servers.kafka, toy.added(trouble="key"))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "dead_letter", 2))
        toy.fold.keys_held.add("k1")
        await eventually(lambda: _counted(toy, "addition", 1), within=30)
    rows = await toy.fetch('SELECT "offset", kind, state FROM dead_letter ORDER BY kept_at')
    assert [tuple(row.values()) for row in rows] == [(0, "off_contract", "new"), (0, "key_unknown", "done")]


async def test_a_letter_that_is_too_old_is_not_folded_and_says_so(toy: Toy) -> None:
    """After 40 days its natural key may be forgotten."""
    await publish(toy.servers.kafka, toy.added(trouble="key"))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "dead_letter", 1))
    toy.fold.keys_held.add("k1")
    await toy.fetch("UPDATE dead_letter SET state = 'new', appended_at = now() - $1::interval", timedelta(days=41))
    assert await _rechecked(toy) == [
        "older than 40 days: whether it was folded before is forgotten, so it is not folded again"
    ]
    await toy.fetch("UPDATE dead_letter SET state = 'redrive'")
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "dead_letter WHERE state = 'too_old'", 1), within=30)
    assert await toy.count() == 0


async def test_of_a_flood_the_first_letters_are_whole(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each producer so many, and of the topic so many; the others have hash, length and cause."""
    monkeypatch.setattr(whole_letters, "WHOLE_OF_SOURCE_MAX", 5)
    monkeypatch.setattr(whole_letters, "WHOLE_OF_TOPIC_MAX", 12)
    rows = []
    for source in (b"/a", b"/b", b"/c"):
        for _ in range(10):
            row = toy.added(trouble="conflict")
            headers = tuple((name, source if name == "ce_source" else value) for name, value in row.headers)
            rows.append(Outgoing(row.event_id, row.topic, row.key, row.value, headers))
    async with running(toy.service(), toy.settings()):
        await publish(toy.servers.kafka, *rows[:3])
        await eventually(lambda: _counted(toy, "dead_letter", 3))
        await publish(toy.servers.kafka, *rows[3:])
        await eventually(lambda: _counted(toy, "dead_letter", 30))
        found = await toy.fetch(STATES)
        whole = [row["source"] for row in found if row["whole"]]
        assert sorted(whole) == ["/a"] * 5 + ["/b"] * 5 + ["/c"] * 2
        bare = [row for row in found if not row["whole"]]
        assert {(row["state"], row["value"], row["headers"]) for row in bare} == {("new", None, "[]")}
        assert {row["record_key"] for row in bare} < {row.key for row in rows}  # they are still found by it
        await publish(toy.servers.kafka, Outgoing(uuid4(), toy.topic, b"odd", b"{nope", rows[0].headers))
        await eventually(lambda: _counted(toy, "dead_letter WHERE whole AND kind = 'off_contract'", 1))
        toy.fold.mended = True
        await toy.fetch("UPDATE dead_letter SET state = 'redrive', next_try_at = now() WHERE kind = 'conflict'")
        await eventually(lambda: _counted(toy, "addition", 12), within=60)
        await toy.fetch("UPDATE dead_letter SET state = 'new' WHERE state = 'redrive'")
    assert (await _rechecked(toy)).count("its content was not kept, so it cannot be folded again") == 18
    kept = await toy.fetch("SELECT value_bytes, value_sha256 FROM dead_letter")
    assert {(row["value_bytes"] > 0, len(row["value_sha256"])) for row in kept} == {(True, 32)}


async def test_what_waits_for_a_key_never_loses_its_content(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than are kept in an hour the partition waits, and all are folded once the key is there."""
    monkeypatch.setattr(whole_letters, "WHOLE_OF_SOURCE_MAX", 3)
    monkeypatch.setattr(whole_letters, "WHOLE_OF_TOPIC_MAX", 3)
    monkeypatch.setattr(whole_letters, "WAITING_MAX", 7)
    await publish(toy.servers.kafka, *(toy.added(trouble="key") for _ in range(20)))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "brake WHERE released_at IS NULL", 1), within=30)
        held = await toy.fetch("SELECT reason FROM brake")
        assert [row["reason"] for row in held] == ["7 records of this hour wait for a key, and no more are kept"]
        assert await toy.count("dead_letter WHERE whole AND state = 'redrive'") == await toy.count("dead_letter") == 7
        toy.fold.keys_held.add("k1")
        await toy.fetch("UPDATE brake SET released_at = now()")
        await eventually(lambda: _counted(toy, "addition", 20), within=60)


async def test_a_letter_without_its_content_cannot_be_redriven(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk says how many; they can be discarded."""
    monkeypatch.setattr("countersign.operations.letters.SERVICES", (toy.name,))
    monkeypatch.setattr(whole_letters, "WHOLE_OF_SOURCE_MAX", 2)
    bad = toy.added()
    await publish(toy.servers.kafka, *(Outgoing(uuid4(), toy.topic, b"same", b"{nope", bad.headers) for _ in range(5)))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "dead_letter", 5))
    db = await asyncpg.connect(toy.dsn)
    try:
        desk = Desk(db, toy.name, "a test", "to see")
        count = await desk.count(Choice(), "redrive")
        assert (count.ready, count.parked, count.without_content) == (2, 0, 3)
        assert await desk.redrive(Choice(), 100) == 2
        shown = await Letters(db, [toy.name]).newest(Choice(state="new"), 10)
        assert [(letter.whole, letter.source) for letter in shown] == [(False, "/countersign/test")] * 3
        assert await desk.discard(Choice()) == 3
    finally:
        await db.close()


async def _rechecked(toy: Toy) -> list[str | None]:
    db = await asyncpg.connect(toy.dsn, server_settings={"search_path": toy.name})
    try:
        return [checked.cause async for checked in recheck(db, {toy.topic: toy.fold})]
    finally:
        await db.close()


async def _make_anew(toy: Toy) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=toy.servers.kafka)
    await admin.start()
    try:
        await admin.delete_topics([toy.topic])

        async def is_gone() -> bool:
            return toy.topic not in await admin.list_topics()

        await eventually(is_gone)
        configs = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics([NewTopic(toy.topic, num_partitions=1, replication_factor=1, topic_configs=configs)])
    finally:
        await admin.close()


async def _counted(toy: Toy, table: str, count: int) -> bool:
    return await toy.count(table) == count
