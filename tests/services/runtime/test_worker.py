"""The worker on real servers: folded once, published once, and what happens to what cannot be folded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.runtime.messages.record import Outgoing
from tests.support.frame import running
from tests.support.kafka import eventually, publish, publish_raw, read_topic
from tests.support.toy import Adding, Toy, a_toy, decoded, settled

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
async def toy(servers: Servers) -> Toy:
    return await a_toy(servers)


async def test_each_event_is_folded_and_published_once(toy: Toy) -> None:
    """300 events, each twice: 300 rows, 300 records, an empty outbox."""
    events = [toy.added() for _ in range(300)]
    await publish(toy.servers.kafka, *events, *events)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 300))
        await eventually(lambda: _is(toy.count("outbox"), 0))
    published = [decoded(record)["id"] for record in await read_topic(toy.servers.kafka, toy.out)]
    assert len(published) == len(set(published)) == 300


async def test_what_cannot_be_read_becomes_a_dead_letter_and_stops_nobody(toy: Toy) -> None:
    """1,000 bad records in a row, each kept with its cause; the good one behind them is folded."""
    good = toy.added(account="same")
    bad = [Outgoing(uuid4(), toy.topic, b"same", b"{nope", good.headers) for _ in range(1000)]
    await publish(toy.servers.kafka, *bad, good)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 1))
    letters = await toy.fetch("SELECT kind, cause, state, value FROM dead_letter")
    assert len(letters) == 1000
    assert {(row["kind"], row["state"]) for row in letters} == {("off_contract", "new")}
    assert letters[0]["cause"].startswith("value: expected JSON")


@pytest.mark.parametrize(
    ("value", "headers", "cause"),
    [
        (b"x" * 900_000, None, "value: at most 65536 bytes are read; came 900000 bytes"),
        (None, None, "value: expected a JSON object; came nothing (a tombstone)"),
        (b"{}", [("ce_id", b"1")], "header ce_type: missing"),
        (b"{}", "other version", "header ce_type: expected countersign.toy.added.v1; came another major version of it"),
    ],
)
async def test_each_kind_of_bad_record_is_told(toy: Toy, value: bytes | None, headers: object, cause: str) -> None:
    """A value too long keeps its length and hash; the cause says what was expected."""
    right = list(toy.added().headers)
    if headers == "other version":
        headers = [(k, b"countersign.toy.added.v2" if k == "ce_type" else v) for k, v in right]
    await publish_raw(toy.servers.kafka, toy.topic, b"k", value, headers or right)  # type: ignore[arg-type]
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count("dead_letter"), 1))
    letter = (await toy.fetch("SELECT * FROM dead_letter"))[0]
    assert letter["cause"].startswith(cause)
    assert letter["value_bytes"] == len(value or b"")
    assert len(letter["value"]) <= 65536


async def test_a_listed_type_of_no_use_is_skipped(toy: Toy) -> None:
    """It is neither folded nor a dead letter."""
    other = [(k, b"countersign.toy.other.v1" if k == "ce_type" else v) for k, v in toy.added().headers]
    await publish_raw(toy.servers.kafka, toy.topic, b"k", b"{}", other)
    await publish(toy.servers.kafka, toy.added())
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 1))
    assert await toy.count("dead_letter") == 0


async def test_a_bug_in_decide_makes_a_dead_letter_and_leaves_the_others_alone(toy: Toy) -> None:
    """One account's poison: its records are dead letters of the kind bug, no brake."""
    toy.fold.poison = {"bad"}
    events = [toy.added("bad", trouble="bug") for _ in range(60)] + [toy.added() for _ in range(60)]
    await publish(toy.servers.kafka, *events)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 60))
        await eventually(lambda: _is(toy.count("dead_letter"), 60))
    assert {row["kind"] for row in await toy.fetch("SELECT kind FROM dead_letter")} == {"bug"}
    assert await toy.count("brake") == 0


async def test_a_bug_in_save_is_found_one_by_one(toy: Toy) -> None:
    """The batch that holds it is folded one by one; only the record itself is lost to the dead letters."""
    events = [toy.added() for _ in range(20)] + [toy.added(trouble="bug in save")] + [toy.added() for _ in range(20)]
    await publish(toy.servers.kafka, *events)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 40))
        await eventually(lambda: _is(toy.count("dead_letter"), 1))


async def test_the_brake_holds_a_partition_and_is_released(servers: Servers) -> None:
    """Bugs of three accounts hold the partition: said in the table, kept over a restart, released there."""
    toy = await a_toy(servers, partitions=1)
    toy.fold.poison = {"a", "b", "c"}
    events = [toy.added(account, trouble="bug") for _ in range(20) for account in "abc"]
    await publish(toy.servers.kafka, *events, *(toy.added() for _ in range(5)))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count("brake"), 1))
        letters = await toy.count("dead_letter")
        assert 21 <= letters < 60
        assert await settled(lambda: _is(toy.count(), 5), 1)  # rounds: the sound ones went first
    async with running(toy.service(), toy.settings()):
        assert await settled(lambda: _is(toy.count("dead_letter"), letters), 2)
        toy.fold.poison = set()
        await toy.fetch("UPDATE brake SET released_at = now()")
        await eventually(lambda: _is(toy.count(), 65 - letters))
    assert await toy.count("dead_letter") == letters


async def test_a_missing_key_is_waited_for_without_holding_anybody_up(toy: Toy) -> None:
    """The record waits among the dead letters and is folded once the key is there."""
    await publish(toy.servers.kafka, toy.added(trouble="key"), *(toy.added() for _ in range(3)))
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count(), 3))
        letter = (await toy.fetch("SELECT kind, state FROM dead_letter"))[0]
        assert (letter["kind"], letter["state"]) == ("key_unknown", "redrive")
        toy.fold.keys_held.add("k1")
        await eventually(lambda: _is(toy.count(), 4))
    assert (await toy.fetch("SELECT state FROM dead_letter"))[0]["state"] == "done"


async def test_what_a_dead_process_left_in_the_outbox_is_published(toy: Toy) -> None:
    """A row whose lease ran out is taken by whoever is alive, published and forgotten."""
    row = toy.added()
    await toy.fetch(
        "INSERT INTO outbox VALUES ($1, $2, $3, $4, '[]', now() - interval '1 s')",
        row.event_id,
        toy.out,
        row.key,
        row.value,
    )
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _is(toy.count("outbox"), 0))
    assert len(await read_topic(toy.servers.kafka, toy.out)) == 1


async def test_two_owners_of_a_partition_fold_the_same_batch_in_opposite_order(toy: Toy) -> None:
    """Neither deadlocks, and each event counts once."""
    from countersign.runtime.database.postgres import Link  # noqa: PLC0415
    from countersign.runtime.folding.fold import absorb  # noqa: PLC0415
    from tests.support.toy import Added  # noqa: PLC0415

    folds = Adding(toy.topic, toy.out), Adding(toy.topic, toy.out)
    for _ in range(20):
        batch = [_incoming(toy, Added(id=uuid4(), account=str(uuid4()))) for _ in range(200)]
        links = [Link(toy.dsn, toy.name) for _ in folds]

        async def fold(number: int, order: int) -> int:
            async with links[number].use() as db:  # noqa: B023
                return len((await absorb(db, folds[number], batch[::order])).due)  # noqa: B023

        made = await asyncio.gather(fold(0, 1), fold(1, -1))
        assert sum(made) == 200
        for link in links:
            await link.close()
    assert await toy.count() == 4000


def _incoming(toy: Toy, event: object) -> object:
    from datetime import UTC, datetime  # noqa: PLC0415

    from countersign.runtime.messages.record import Incoming, Record  # noqa: PLC0415

    now = datetime.now(UTC)  # noqa: TID251 - a test stands outside
    return Incoming(event, Record(toy.topic, 0, 0, b"", b"", (), now), "1", now)


async def _is(counting: object, wanted: int) -> bool:
    return await counting == wanted  # type: ignore[misc]
