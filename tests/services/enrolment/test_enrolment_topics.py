"""The topics that enrolment reads, on real Kafka: read again from the start, and bad input of each kind."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from countersign.contract import MemberSet
from tests.support.enrolment import Desk, fold_batch
from tests.support.events import a_member_removed, a_member_set, outgoing
from tests.support.kafka import eventually, publish, publish_raw, read_topic

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Record
    from tests.services.enrolment.conftest import Calls
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

TOPICS = ("account.members.v1", "access.decisions.v1")


async def letters(desk: Desk, record: Record) -> list[tuple[str, str]]:
    rows = await desk.db.fetch(
        'SELECT kind, cause FROM dead_letter WHERE topic = $1 AND partition = $2 AND "offset" = $3',
        record.topic,
        record.partition,
        record.offset,
    )
    return [(row["kind"], row["cause"]) for row in rows]


async def test_reading_members_from_the_start_changes_nothing(desk: Desk, calls: Calls, servers: Servers) -> None:
    """Invariant 10: a whole topic, read again by the same fold in the topic's order and backwards."""
    account_id, gone, stays = uuid4(), uuid4(), uuid4()
    await publish(
        servers.kafka,
        outgoing(a_member_set(account_id=account_id, user_id=stays, role="owner", version=1)),
        outgoing(a_member_set(account_id=account_id, user_id=gone, version=1)),
        outgoing(a_member_removed(account_id=account_id, user_id=gone, version=2)),
        outgoing(a_member_set(account_id=account_id, user_id=stays, role="owner", version=2, name="Renamed")),
    )

    async def folded() -> bool:
        rows = await desk.db.fetch("SELECT version FROM member WHERE account_id = $1", account_id)
        return [row["version"] for row in rows] == [2, 2]

    await eventually(folded)
    before = await desk.stored(account_id)
    records = [one for one in await read_topic(servers.kafka, MemberSet.topic) if _of(one, account_id)]
    assert len(records) == 4
    batch = [incoming for incoming in map(desk.members.parse, records) if incoming is not None]
    for order in (batch, batch[::-1]):
        assert await fold_batch(desk.db, desk.members, order) == ([], [])
        assert await desk.stored(account_id) == before
    del calls


def _of(record: Record, account_id: UUID) -> bool:
    return str(account_id).encode() in (record.value or b"")


def bad_members() -> list[tuple[str, bytes | None, dict[str, bytes | None], str]]:
    """Return what is wrong, the value, the headers over the right ones (None: without), and what the cause names."""
    good = json.loads(a_member_set().model_dump_json())

    def changed(**over: Any) -> bytes:
        return json.dumps({name: value for name, value in (good | over).items() if value is not ...}).encode()

    return [
        ("not JSON", b"{", {}, "value"),
        ("an array", b"[]", {}, "value"),
        ("nothing", None, {}, "value"),
        ("900 KB", changed(name="x" * 900_000), {}, "value"),
        ("no user_id", changed(user_id=...), {}, "user_id"),
        ("an id that is none", changed(user_id="42"), {}, "user_id"),
        ("a version as text", changed(version="1"), {}, "version"),
        ("version 0", changed(version=0), {}, "version"),
        ("a version too high", changed(version=2**63), {}, "version"),
        ("an unknown role", changed(role="admin"), {}, "role"),
        ("an unknown type", changed(), {"ce_type": b"countersign.account.member_lost.v1"}, "ce_type"),
        ("another major version", changed(), {"ce_type": b"countersign.account.member_set.v2"}, "ce_type"),
        ("a name of another topic", changed(), {"ce_type": b"countersign.access.granted.v1"}, "ce_type"),
        ("no ce_type", changed(), {"ce_type": None}, "ce_type"),
        ("no ce_time", changed(), {"ce_time": None}, "ce_time"),
        ("a time that is none", changed(), {"ce_time": b"yesterday"}, "ce_time"),
    ]


@pytest.mark.parametrize(("what", "value", "over", "named"), bad_members(), ids=[case[0] for case in bad_members()])
async def test_bad_input_is_a_dead_letter_that_names_the_field(
    desk: Desk,
    calls: Calls,
    servers: Servers,
    what: str,
    value: bytes | None,
    over: dict[str, bytes | None],
    named: str,
) -> None:
    """With a cause that quotes nothing of it."""
    headers = dict(outgoing(a_member_set()).headers) | over
    kept = [(name, held) for name, held in headers.items() if held is not None]
    record = await publish_raw(servers.kafka, MemberSet.topic, b"any", value, kept)

    async def kept_as_a_letter() -> bool:
        return bool(await letters(desk, record))

    await eventually(kept_as_a_letter)
    [(kind, cause)] = await letters(desk, record)
    assert kind == "off_contract"
    assert named in cause.split(":")[0], what
    assert "xxx" not in cause
    del calls


async def test_an_odd_name_or_language_makes_a_member_all_the_same(desk: Desk, calls: Calls, servers: Servers) -> None:
    """Without the membership every log-in of that person would be denied."""
    for over in ({"name": "a\u0000b"}, {"name": "a\ud800b"}, {"name": ""}, {"name": "x" * 201}, {"locale": "en_AU"}):
        member = a_member_set()
        good = outgoing(member)
        value = json.dumps(json.loads(good.value) | over).encode()
        await publish_raw(servers.kafka, good.topic, good.key, value, good.headers)
        await eventually(partial(desk.protection, member.user_id))
    del calls


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_thousand_in_a_row_stop_nobody(desk: Desk, calls: Calls, servers: Servers, topic: str) -> None:
    """A sloppy producer raises a metric; a member that comes afterwards is one all the same."""
    record = outgoing(a_member_set())
    user_id = uuid4()
    good = outgoing(a_member_set(user_id=user_id))
    bad = [type(record)(record.event_id, topic, good.key, b"{%d" % number, record.headers) for number in range(1000)]
    await publish(servers.kafka, *bad)
    await publish(servers.kafka, good)
    await eventually(lambda: desk.protection(user_id), within=30)

    async def all_kept() -> bool:
        rows = await desk.db.fetchval(
            "SELECT count(*) FROM dead_letter WHERE topic = $1 AND record_key = $2", topic, good.key
        )
        return bool(rows == 1000)

    await eventually(all_kept, within=30)
    del calls
