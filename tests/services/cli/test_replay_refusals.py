"""What a replay refuses, and what stops it, each in a sentence and before anything is saved."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from countersign.runtime.replay.plan import Plan
from tests.support.events import a_client, an_access_requested, outgoing
from tests.support.kafka import publish, publish_raw
from tests.support.members import a_member
from tests.support.replay_desk import SERVICE, TOPIC, WHY, Desk, decided, never_decided

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def test_more_than_was_planned_stops_before_it_is_saved(desk: Desk) -> None:
    """The tables changed since the plan: a decided request is undecided again. The batch is rolled back."""
    requests = await decided(desk, 30)
    await asyncio.sleep(0)
    file = await desk.plan()
    lost = [request.request_id for request in requests[:3]]
    await desk.db.execute("DELETE FROM assessment WHERE request_id = ANY($1)", lost)
    before = await desk.tables()
    code, rows, _ = await desk.begin(file)
    assert code == 1
    assert rows[-1]["state"] == "stopped"
    assert "more than was planned: effect denied member.unknown: 0 planned" in rows[-1]["cause"]
    assert await desk.tables() == before
    assert (await desk.status())["cause"] == rows[-1]["cause"]


async def test_a_record_that_would_lead_to_a_text_stops_the_run(desk: Desk, servers: Servers) -> None:
    """And a plan of such records is refused before anything begins."""
    member = await a_member(servers)
    request = an_access_requested(
        account_id=member.account_id, user_id=member.user_id, client=a_client(ip="198.51.100.9")
    )
    await publish(servers.kafka, outgoing(request))
    file = await desk.plan("text.json", code=1)
    assert Plan.parsed(file.read_bytes()).found.forbidden == {"text": 1}
    code, _, words = await desk.begin(file)
    assert code == 2
    assert "a replay never causes" in words
    plan = Plan.parsed(file.read_bytes())
    blind = plan.found.model_copy(
        update={"forbidden": {}, "effects": {"text": 5}, "changes": {"assessment": 5, "outbox": 5}}
    )
    file.write_text(plan.model_copy(update={"found": blind}).sealed().model_dump_json())
    code, rows, words = await desk.begin(file)
    assert code == 1, words
    assert "would lead to text" in rows[-1]["cause"]
    assert await desk.assessed([request]) == 0


async def deleted(desk: Desk, partition: int, *, before: int) -> None:
    """Delete the oldest records of a partition, as its retention does."""
    admin = AIOKafkaAdminClient(bootstrap_servers=desk.servers.kafka)
    await admin.start()
    try:
        await admin.delete_records({TopicPartition(TOPIC, partition): RecordsToDelete(before_offset=before)})
    finally:
        await admin.close()


async def test_records_that_cannot_be_folded_stop_it_unless_planned(desk: Desk) -> None:
    """Those that are dead letters already are known; new ones are never kept by a replay."""
    headers = dict(outgoing(an_access_requested()).headers)
    unfit = await publish_raw(desk.servers.kafka, TOPIC, b"k", b'{"action": "fly"}', headers.items())
    await never_decided(desk, 5)
    file = await desk.plan()
    found = Plan.parsed(file.read_bytes()).found
    assert sum(found.unfoldable.values()) == 1
    blind = Plan.parsed(file.read_bytes())
    blind = blind.model_copy(update={"found": found.model_copy(update={"unfoldable": {}})}).sealed()
    blind_file = desk.folder / "blind.json"
    blind_file.write_text(blind.model_dump_json())
    code, rows, _ = await desk.begin(blind_file)
    assert code == 1
    assert "unfoldable record: 0 planned" in rows[-1]["cause"]
    code, rows, words = await desk.begin(file)
    assert code == 0, words
    assert await desk.db.fetchval("SELECT count(*) FROM dead_letter") == 0
    await deleted(desk, unfit.partition, before=unfit.offset + 1)  # it would be a dead letter of somebody else's test


async def test_plans_that_are_changed_old_or_of_other_code_are_refused(desk: Desk) -> None:
    """Each in a sentence, and nothing is done."""
    await never_decided(desk, 2)
    file = await desk.plan()
    plan = Plan.parsed(file.read_bytes())
    cases = {
        "its hash does not fit": plan.model_copy(update={"made_by": "somebody else"}),
        "is older than 24 h": plan.model_copy(update={"made_at": plan.made_at - timedelta(days=30)}).sealed(),
        "another version of the code": plan.model_copy(update={"code": "0" * 64}).sealed(),
        "no such service": plan.model_copy(
            update={"asked": plan.asked.model_copy(update={"service": "public; DROP TABLE x"})}
        ).sealed(),
        "another configuration or policy": plan.model_copy(update={"limits": "0" * 64}).sealed(),
    }
    for sentence, changed in cases.items():
        file.write_text(changed.model_dump_json())
        code, _, words = await desk.begin(file)
        assert code == 2, sentence
        assert sentence in words
        assert "Traceback" not in words
    file.write_text("{}")
    assert (await desk.begin(file))[0] == 2
    code, _, words = await desk.call("run", str(desk.folder / "none.json"), *WHY)
    assert code == 2
    assert "cannot be read" in words


async def test_records_that_retention_deleted_since_the_plan_are_missed(desk: Desk) -> None:
    """The run says which partition, instead of going on as if they had never been."""
    key = str(uuid4()).encode()
    headers = dict(outgoing(an_access_requested()).headers)
    value = outgoing(an_access_requested()).value
    records = [await publish_raw(desk.servers.kafka, TOPIC, key, value, headers.items()) for _ in range(3)]
    file = await desk.plan()
    partition = records[0].partition
    await deleted(desk, partition, before=records[1].offset)
    code, _, words = await desk.begin(file)
    assert code == 2
    assert f"partition {partition} were deleted by the topic's retention" in words


async def test_the_topics_name_is_typed_where_it_is_production(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it nothing begins; on a stack of one's own nobody is asked."""
    await never_decided(desk, 1)
    file = await desk.plan()
    code, _, words = await desk.call("run", str(file), "--reason", "a test")
    assert code == 2
    assert f"give --confirm {TOPIC}" in words
    assert await desk.db.fetchval("SELECT count(*) FROM replay") == 0
    monkeypatch.setenv("OPERATOR_CONTEXT", "local")
    assert (await desk.call("run", str(file), "--reason", "a test"))[0] == 0


async def test_servers_that_are_away_are_told_in_a_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kafka for the plan, PostgreSQL for the rest; exit code 2 and no stack trace."""
    monkeypatch.setenv("COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:9")
    asked = ("--service", SERVICE, "--topic", TOPIC, "-o", str(desk.folder / "none.json"))
    code, _, words = await desk.call("plan", *asked)
    assert code == 2
    assert "Kafka or PostgreSQL does not answer (KafkaConnectionError" in words
    assert "Traceback" not in words
    assert not (desk.folder / "none.json").exists()
    for command in (("status",), ("pause", str(uuid4()), "--reason", "r"), ("resume", str(uuid4()), "--reason", "r")):
        code, _, words = await desk.call(*command, "--dsn", "postgresql://nobody@127.0.0.1:9/none")
        assert code == 2
        assert "PostgreSQL does not answer: ConnectionRefusedError" in words
    code, _, words = await desk.call("abort", str(uuid4()), "--reason", "r")
    assert code == 2
    assert "there is no replay" in words
