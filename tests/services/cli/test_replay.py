"""Replays from the command line, on real servers: planned, run, interrupted, refused; and what they leave alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from countersign import cli
from countersign.runtime.replay.plan import Plan
from deploy.local.checkout import CHECKOUT
from deploy.local.postgres import OPERATOR
from tests.support.evaluator import evaluating
from tests.support.events import a_client, an_access_requested, clock, outgoing
from tests.support.kafka import eventually, publish, publish_raw
from tests.support.members import a_member
from tests.support.replays import replaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from countersign.contract import AccessRequested
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
SERVICE, TOPIC = "risk_evaluator", "access.requests.v1"
WHY = ("--reason", "a test", "--who", "ann@bastion", "--confirm", TOPIC)
MANY = 300
STALE = timedelta(minutes=10)
# What tells of replays themselves, and what the service's own loops may touch.
OWN = {"replay", "replay_partition", "operation"}


@dataclass
class Desk:
    """The command line, as the operator has it, and a look at the service's tables."""

    servers: Servers
    db: asyncpg.Connection
    folder: Path
    capsys: pytest.CaptureFixture[str]
    since: datetime

    async def call(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run a command; return its code, the JSON that it printed, and everything else."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(cli.main, ["replay", *arguments])
        printed = self.capsys.readouterr()
        rows = [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]
        return code, rows, printed.out + printed.err

    async def plan(self, name: str = "plan.json", *more: str, code: int = 0) -> Path:
        """Plan a replay of what was published since the test began."""
        file = self.folder / name
        asked = ("--service", SERVICE, "--topic", TOPIC, "--since", self.since.isoformat(), "-o", str(file))
        ended, _, words = await self.call("plan", *asked, "--json", *more)
        assert ended == code, words
        return file

    async def begin(self, file: Path, *more: str) -> tuple[int, list[dict[str, Any]], str]:
        return await self.call("run", str(file), *WHY, "--json", *more)

    async def status(self) -> dict[str, Any]:
        """Return the newest replay as `status` prints it."""
        _, rows, _ = await self.call("status", "--json", "--service", SERVICE)
        return rows[0]

    async def tables(self) -> dict[str, list[Any]]:
        """Return all rows of the service's tables but those about replays."""
        names = await self.db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SERVICE)
        return {
            row["tablename"]: await self.db.fetch(f"SELECT * FROM {row['tablename']} AS t ORDER BY t::text")
            for row in names
            if row["tablename"] not in OWN
        }

    async def assessed(self, requests: Sequence[AccessRequested]) -> int:
        ids = [request.request_id for request in requests]
        return int(await self.db.fetchval("SELECT count(*) FROM assessment WHERE request_id = ANY($1)", ids))

    async def operations(self) -> list[asyncpg.Record]:
        return await self.db.fetch("SELECT command, who, reason, outcome::text FROM operation ORDER BY began_at")


@pytest_asyncio.fixture(loop_scope="session")
async def desk(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    """Name servers and settings as for the service, and forget earlier replays."""
    secrets = tmp_path / f"{SERVICE}.json"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps(servers.secrets[SERVICE]))
    for name, value in {
        "SECRETS_FILE": str(secrets),
        "KAFKA__BOOTSTRAP_SERVERS": servers.kafka,
        "POLICY_FILE": str(CHECKOUT / "deploy/policy/local.yaml"),
        "JWKS_URL": "http://127.0.0.1:9/jwks.json",
    }.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("OPERATOR_CONTEXT", "production")
    db = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    await db.execute("TRUNCATE replay, replay_partition, operation; DELETE FROM outbox; DELETE FROM dead_letter")
    yield Desk(servers, db, tmp_path, capsys, clock())
    await db.close()


def stale_request() -> tuple[AccessRequested, Any]:
    request = an_access_requested()
    return request, outgoing(request, at=clock() - STALE)


async def decided(desk: Desk, count: int) -> list[AccessRequested]:
    """Publish requests and let the service assess them all; it has ended when this returns."""
    requests = [an_access_requested() for _ in range(count)]
    async with evaluating(desk.servers):
        await publish(desk.servers.kafka, *(outgoing(request) for request in requests))

        async def all_assessed() -> bool:
            return await desk.assessed(requests) == count

        await eventually(all_assessed, within=60)

        async def published() -> bool:
            return await desk.db.fetchval("SELECT count(*) FROM outbox") == 0

        await eventually(published)
    return requests


async def never_decided(desk: Desk, count: int) -> list[AccessRequested]:
    """Publish requests that are stale before anybody reads them."""
    made = [stale_request() for _ in range(count)]
    await publish(desk.servers.kafka, *(record for _, record in made))
    return [request for request, _ in made]


async def test_what_was_decided_stays_and_what_was_missed_is_denied(desk: Desk) -> None:
    """The plan counts both; the run does just that, once, with a row of who and why; texts and grants are none."""
    await decided(desk, MANY)
    missed = await never_decided(desk, 10)
    before = await desk.tables()
    file = await desk.plan()
    assert await desk.tables() == before
    found = Plan.parsed(file.read_bytes()).found
    assert (found.chosen, found.without_effect, found.forbidden) == (MANY + 10, MANY, {})
    assert found.effects == {"denied request.stale": 10}
    assert found.changes == {"assessment": 10, "outbox": 10}
    assert found.publishes == {"countersign.access.assessed.v1": 10}
    assert found.stale == 10
    code, rows, words = await desk.begin(file, "--rate", "5000/s")
    assert code == 0, words
    assert rows[-1]["state"] == "done"
    assert rows[-1]["records"] == MANY + 10
    after = await desk.tables()
    assert await desk.assessed(missed) == 10
    assert len(after["outbox"]) == 10
    kept = [row for row in after["assessment"] if row["request_id"] not in {one.request_id for one in missed}]
    assert kept == before["assessment"]
    assert {name: rows for name, rows in after.items() if name not in {"assessment", "outbox"}} == {
        name: rows for name, rows in before.items() if name not in {"assessment", "outbox"}
    }
    (row,) = await desk.operations()
    assert (row["command"], row["who"], row["reason"]) == ("replay run", "ann@bastion", "a test")
    assert json.loads(row["outcome"])["state"] == "done"
    code, _, words = await desk.begin(file)
    assert code == 2
    assert "a plan is run once" in words
    again = Plan.parsed((await desk.plan("again.json")).read_bytes()).found
    assert (again.without_effect, again.effects) == (MANY + 10, {})


async def test_the_groups_offsets_are_not_touched(desk: Desk) -> None:
    """Neither the plan nor the run is a member of a group, or commits an offset."""
    await decided(desk, 20)
    admin = AIOKafkaAdminClient(bootstrap_servers=desk.servers.kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"countersign.{SERVICE}")
        groups = await admin.list_consumer_groups()
        code, _, words = await desk.begin(await desk.plan())
        assert code == 0, words
        assert await admin.list_consumer_group_offsets(f"countersign.{SERVICE}") == offsets
        assert sorted(await admin.list_consumer_groups()) == sorted(groups)
    finally:
        await admin.close()


async def test_a_range_a_key_and_a_type_are_chosen(desk: Desk) -> None:
    """By the time of the append, by the producer's own time, by key and by type; the rest is left out."""
    old = await never_decided(desk, 5)
    middle = clock()
    await asyncio.sleep(0.05)
    new = await decided(desk, 5)

    async def chosen(name: str, *more: str) -> int:
        return Plan.parsed((await desk.plan(name, *more)).read_bytes()).found.chosen

    assert await chosen("all", "--until", clock().isoformat()) == 10
    assert await chosen("until", "--until", middle.isoformat()) == 5
    assert await chosen("event", "--by", "event-time") == 5
    assert await chosen("event2", "--by", "event-time", "--until", middle.isoformat()) == 0
    assert await chosen("key", "--key", str(new[0].account_id)) == 1
    assert await chosen("type", "--type", "countersign.access.requested.v1") == 10
    assert await chosen("other", "--type", "countersign.other.v1") == 0
    assert await desk.assessed(old) in {0, 5}


@asynccontextmanager
async def at_work(replay_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the service's own program for a replay, as the command line does."""
    argv = ("-m", f"services.{SERVICE}", "replay-run", str(replay_id))
    quiet = asyncio.subprocess.DEVNULL
    program = await asyncio.create_subprocess_exec(sys.executable, *argv, cwd=CHECKOUT, stdout=quiet, stderr=quiet)
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def begun(desk: Desk, file: Path, rate: str) -> tuple[asyncio.Task[Any], str]:
    """Begin a run and wait until it has committed something."""
    running = asyncio.ensure_future(asyncio.to_thread(cli.main, ["replay", "run", str(file), *WHY, "--rate", rate]))

    async def moving() -> bool:
        return bool(await desk.db.fetchval("SELECT sum(records) FROM replay_partition"))

    await eventually(moving, within=60)
    return running, str(await desk.db.fetchval("SELECT replay_id FROM replay"))


async def test_killed_in_the_middle_it_goes_on_where_its_journal_says(desk: Desk) -> None:
    """By force: what was committed is not done again, what was not is; every record counts once."""
    await decided(desk, MANY)
    missed = await never_decided(desk, 20)
    file = await desk.plan()
    running, replay_id = await begun(desk, file, "20/s")
    os.kill(replaying(replay_id), signal.SIGKILL)
    assert await running == 2
    half = int(await desk.db.fetchval("SELECT sum(records) FROM replay_partition"))
    assert 0 < half < MANY + 20

    async def noticed() -> bool:
        return bool((await desk.status())["state"] == "interrupted")

    await eventually(noticed)
    other = await desk.plan("other.json")
    code, _, words = await desk.begin(other)
    assert code == 2
    assert "is running or was interrupted" in words
    await desk.db.execute("UPDATE replay SET rate = 5000")
    code, rows, words = await desk.call("resume", replay_id, "--reason", "goes on", "--json")
    assert code == 0, words
    assert rows[-1]["records"] == MANY + 20
    assert rows[0]["records"] > half
    assert await desk.assessed(missed) == 20
    assert await desk.db.fetchval("SELECT count(*) FROM outbox") == 20
    outcomes = [json.loads(row["outcome"]) for row in await desk.operations()]
    assert outcomes[0]["state"] == "interrupted"
    assert "refused" in outcomes[1]
    assert outcomes[2]["state"] == "done"


async def test_paused_resumed_aborted_and_never_twice_at_once(desk: Desk) -> None:
    """By the journal; a second process finds it taken; each deed has its row."""
    await decided(desk, MANY)
    running, replay_id = await begun(desk, await desk.plan(), "5/s")
    async with at_work(replay_id) as second:
        assert await second.wait() == 2
    assert (await desk.status())["state"] == "running"
    code, _, words = await desk.call("resume", replay_id, "--reason", "too eager")
    assert code == 2
    assert "a process is at work" in words
    code, _, words = await desk.call("pause", replay_id, "--reason", "the peak")
    assert code == 0, words
    assert await running == 1
    paused = await desk.status()
    assert paused["state"] == "paused"
    assert 0 < paused["records"] < MANY
    code, _, words = await desk.call("abort", replay_id, "--reason", "the wrong week")
    assert code == 0, words
    assert (await desk.status())["state"] == "aborted"
    code, _, words = await desk.call("resume", replay_id, "--reason", "after all")
    assert code == 2
    assert "the replay is aborted" in words
    rows = [(row["command"], json.loads(row["outcome"])) for row in await desk.operations()]
    assert [command for command, _ in rows] == [
        "replay run", "replay resume", "replay pause", "replay abort", "replay resume",
    ]  # fmt: skip
    assert rows[0][1]["state"] == "paused"
    assert "refused" in rows[1][1]


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


async def test_records_that_cannot_be_folded_stop_it_unless_planned(desk: Desk) -> None:
    """Those that are dead letters already are known; new ones are never kept by a replay."""
    headers = dict(outgoing(an_access_requested()).headers)
    await publish_raw(desk.servers.kafka, TOPIC, b"k", b'{"action": "fly"}', headers.items())
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
    partition = TopicPartition(TOPIC, records[0].partition)
    admin = AIOKafkaAdminClient(bootstrap_servers=desk.servers.kafka)
    await admin.start()
    try:
        await admin.delete_records({partition: RecordsToDelete(before_offset=records[1].offset)})
    finally:
        await admin.close()
    code, _, words = await desk.begin(file)
    assert code == 2
    assert f"partition {partition.partition} were deleted by the topic's retention" in words


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
        assert "PostgreSQL does not say: ConnectionRefusedError" in words
    code, _, words = await desk.call("abort", str(uuid4()), "--reason", "r")
    assert code == 2
    assert "there is no replay" in words
