"""`countersign doctor` on an installation of its own: well, and then with one thing at a time broken on purpose."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from countersign import cli
from countersign.contract.topic_files import topic_files
from countersign.operations.connecting import connected
from countersign.operations.topics import Topics, differences
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.database.postgres_refusal import session_finding
from deploy.local import secret_files
from deploy.local.postgres import OPERATOR
from deploy.local.topics import make_topics
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.kafka import eventually, publish
from tests.support.notifier import HOST, LOCAL_POLICY
from tests.support.servers import Servers, own_servers
from tests.support.transaction_pooler import transaction_pooler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("folder")]
SERVICE = "notifier"
Found = dict[str, dict[str, Any]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own() -> AsyncIterator[Servers]:
    """Start servers that nobody else writes to: what lies on a topic is looked at."""
    async with own_servers() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def db(own: Servers) -> AsyncIterator[asyncpg.Connection]:
    """Lend a superuser's connection."""
    connection = await asyncpg.connect(own.postgres_dsn)
    yield connection
    await connection.close()


@pytest.fixture
def folder(own: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the servers as the operator has them; return the folder of secrets files, all of them drawn."""
    for name, content in own.secrets.items():
        secret_files.write(tmp_path, name, content)
    monkeypatch.setenv("DATA", str(tmp_path / "none"))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", own.kafka)
    monkeypatch.setenv("OPERATOR_DSN", own.dsn_of(OPERATOR))
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    return tmp_path


def give_notifier(monkeypatch: pytest.MonkeyPatch, folder: Path, own: Servers) -> None:
    """Put the notifier's settings into the environment."""
    for name, value in {
        "SECRETS_FILE": str(folder / f"{SERVICE}.json"),
        "KAFKA__BOOTSTRAP_SERVERS": own.kafka,
        "POLICY_FILE": LOCAL_POLICY,
        "TEXT__HOST": HOST,
        "SNS__ENDPOINT_URL": own.sns_url,
    }.items():
        monkeypatch.setenv(f"COUNTERSIGN_{name}", value)


async def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Found]:
    """Return the exit code, and by subject what was found that is not well."""
    capsys.readouterr()
    code = await asyncio.to_thread(cli.main, ["doctor", "--json", *arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    rows = [json.loads(line) for line in printed.out.splitlines()]
    assert rows, printed.err
    assert all(row["todo"] for row in rows if row["level"] != "ok")
    # The servers of these tests have no authorizer.
    return code, {row["subject"]: row for row in rows if row["level"] != "ok" and row["subject"] != "rights"}


async def test_a_healthy_installation_has_no_finding(
    own: Servers, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a service's own check: Kafka, PostgreSQL, keys, sessions, SNS."""
    give_notifier(monkeypatch, folder, own)
    assert await doctor(capsys) == (0, {})
    assert await asyncio.to_thread(cli.main, ["doctor"]) == 0
    told = capsys.readouterr().out
    assert "ok       topics: all 7 are as schemas/topics says" in told
    assert "ok       migrations of verifier: all " in told
    assert "ok       PostgreSQL: lets us in as operator, and takes writes" in told
    assert "ok       notifier, SNS: " in told
    assert "warning  rights: the brokers have no authorizer" in told
    for secret in (own.secrets["verifier"]["pepper"], own.secrets["notifier"]["sns"]["secret_access_key"]):
        assert secret not in told


async def test_a_service_is_told_what_nobody_reads_and_what_is_away(
    own: Servers, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable with a mistake in it, an SNS that is not there, a wrong password of the service's role."""
    give_notifier(monkeypatch, folder, own)
    monkeypatch.setenv("COUNTERSIGN_KAFFKA__SESSION_TIMEOUT_MS", "6000")
    monkeypatch.setenv("COUNTERSIGN_SNS__ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("COUNTERSIGN_POSTGRES__DSN", own.dsn_of(SERVICE).replace(f"{SERVICE}:", f"{SERVICE}:not-", 1))
    code, found = await doctor(capsys)
    assert code == 1
    assert set(found) == {
        "COUNTERSIGN_KAFFKA__SESSION_TIMEOUT_MS",
        "notifier, SNS",
        "notifier, PostgreSQL",
    }
    unread = found["COUNTERSIGN_KAFFKA__SESSION_TIMEOUT_MS"]
    assert unread["level"] == "warning"
    assert "set COUNTERSIGN_KAFKA__SESSION_TIMEOUT_MS if that is meant" in unread["todo"]
    assert "cannot be reached" in found["notifier, SNS"]["sentence"]
    assert 'password authentication failed for user "notifier"' in found["notifier, PostgreSQL"]["sentence"]


async def test_a_missing_topic_and_a_wrong_retention_are_found(
    own: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each by its topic; afterwards all is well again."""
    connection = KafkaConnection(bootstrap_servers=own.kafka)
    files = {file.topic: file for file in topic_files()}
    async with connected(connection) as cluster:
        topics = Topics(cluster.admin)
        await cluster.admin.delete_topics(["sms.deliveries.v1"])
        config = {**files["access.requests.v1"].config, "retention.ms": "60000"}
        await cluster.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, "access.requests.v1", config)])

        async def differing() -> int:
            return len(differences(list(files.values()), await topics.present(list(files))))

        async def broken() -> bool:
            return await differing() == 2

        async def mended() -> bool:
            return await differing() == 0

        await eventually(broken)
        try:
            code, found = await doctor(capsys)
        finally:
            await make_topics(connection)
            changes = differences([files["access.requests.v1"]], await topics.present(["access.requests.v1"]))
            await topics.mend(files["access.requests.v1"], changes, 1)
            await eventually(mended)
    assert code == 1
    assert set(found) == {"topic sms.deliveries.v1", "topic access.requests.v1"}
    assert {row["level"] for row in found.values()} == {"error"}
    assert "there is none" in found["topic sms.deliveries.v1"]["sentence"]
    assert found["topic access.requests.v1"]["sentence"] == "retention.ms is 60000, declared is 604800000"
    assert await doctor(capsys) == (0, {})


ADD_LETTER = """
INSERT INTO gateway.dead_letter
       (topic, partition, "offset", value_bytes, value_sha256, headers, kind, cause, state, appended_at)
VALUES ('account.members.v1', 3, 17, 0, '', '[]', 'bug', 'name: missing', 'new', now())
"""


# What breaks it, what mends it, and what is found.
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "fault",
    [
        (
            "DELETE FROM verifier.migration WHERE name = 'verifier/0003_timeline'",
            "INSERT INTO verifier.migration (name, sha256) VALUES ('verifier/0003_timeline', '{kept}')",
            "migrations of verifier",
            "error",
            "1 not applied: verifier/0003_timeline",
        ),
        (
            "UPDATE verifier.migration SET sha256 = 'other' WHERE name = 'verifier/0003_timeline'",
            "UPDATE verifier.migration SET sha256 = '{kept}' WHERE name = 'verifier/0003_timeline'",
            "migrations of verifier",
            "error",
            "changed after they were applied: verifier/0003_timeline",
        ),
        (
            "REVOKE SELECT ON verifier.migration FROM operator",
            "GRANT SELECT ON verifier.migration TO operator",
            "migrations of verifier",
            "warning",
            "operator may not read which were applied",
        ),
        (
            "INSERT INTO exports.outbox VALUES (gen_random_uuid(), 't', '', '', '[]', now() - interval '5 minutes')",
            "DELETE FROM exports.outbox",
            "outbox of exports",
            "error",
            "1 records wait to be published, the oldest for 30",
        ),
        (
            "INSERT INTO exports.outbox VALUES (gen_random_uuid(), 't', '', '', '[]', now(), 'too large')",
            "DELETE FROM exports.outbox",
            "outbox of exports",
            "error",
            "Kafka refused 1 records for good",
        ),
        (
            "INSERT INTO gateway.brake (topic, partition, reason) VALUES ('account.members.v1', 3, '50 in a row')",
            "DELETE FROM gateway.brake",
            "brake of gateway",
            "error",
            "holds account.members.v1 partition 3 since",
        ),
        (
            ADD_LETTER,
            "DELETE FROM gateway.dead_letter",
            "dead letters of gateway",
            "warning",
            "1 wait; most: name: missing",
        ),
    ],
    ids=["migration", "changed migration", "right", "outbox", "parked", "brake", "dead letter"],
)
async def test_what_is_wrong_in_the_database_is_found(
    db: asyncpg.Connection, capsys: pytest.CaptureFixture[str], fault: tuple[str, str, str, str, str]
) -> None:
    """And nothing else with it."""
    broken, mended, subject, level, words = fault
    kept = await db.fetchval("SELECT sha256 FROM verifier.migration WHERE name = 'verifier/0003_timeline'")
    await db.execute(broken)
    try:
        code, found = await doctor(capsys)
    finally:
        await db.execute(mended.format(kept=kept))
    assert set(found) == {subject}
    assert found[subject]["level"] == level
    assert words in found[subject]["sentence"]
    assert code == (1 if level == "error" else 0)


async def test_an_old_key_is_found(own: Servers, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one file: it and the file that shares the ring are the only ones that differ."""
    content = json.loads((folder / "verifier.json").read_text())
    content["grant_keys"][0]["active_from"] = (clock() - timedelta(days=900)).isoformat()
    secret_files.write(folder, "verifier", content)
    code, found = await doctor(capsys)
    assert (code, set(found)) == (0, {str(folder / "verifier.json")})
    key_id = content["grant_keys"][0]["key_id"]
    assert f"{key_id}, which is in use, is 900 days old" in found[str(folder / "verifier.json")]["sentence"]
    assert own.secrets["verifier"]["grant_keys"][0]["secret"] not in json.dumps(found)


async def test_a_wrong_password_and_dead_servers_are_found(
    own: Servers, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other server is looked at all the same."""
    dsn = own.dsn_of(OPERATOR)
    code, found = await doctor(capsys, "--dsn", dsn.replace("operator:", "operator:not-", 1))
    assert (code, found["PostgreSQL"]["level"]) == (1, "error")
    assert 'password authentication failed for user "operator"' in found["PostgreSQL"]["sentence"]
    assert set(found) == {"PostgreSQL", "migrations, outbox, dead letters, brakes"}
    dead = f"postgresql://operator@127.0.0.1:9/{urlsplit(dsn).path[1:]}"
    code, found = await doctor(capsys, "--dsn", dead)
    assert (code, set(found)) == (1, {"PostgreSQL", "migrations, outbox, dead letters, brakes"})
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS")
    code, found = await doctor(capsys, "--bootstrap", "127.0.0.1:9")
    assert (code, set(found)) == (1, {"Kafka", "topics, rights, clocks of producers"})
    assert "does not answer: is it running?" in found["Kafka"]["sentence"]


async def test_a_pooler_in_transaction_mode_is_found(own: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """By trying; without it the same try finds nothing."""
    dsn = own.dsn_of(OPERATOR)
    assert (await session_finding(dsn)).level == "ok"
    parts = urlsplit(dsn)
    async with transaction_pooler(parts.hostname or "", parts.port or 0) as pooler:
        code, found = await doctor(capsys, "--dsn", dsn.replace(f":{parts.port}/", f":{pooler.port}/"))
    assert (code, set(found)) == (1, {"PostgreSQL sessions"})
    assert "a pooler in transaction mode" in found["PostgreSQL sessions"]["sentence"]


async def test_a_producers_clock_is_found(own: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """By the newest records of each source: last, as records stay."""
    good, ahead = f"good-{uuid4().hex[:6]}", f"ahead-{uuid4().hex[:6]}"
    for source, seconds in ((good, 0), (ahead, 90)):
        event = an_access_requested()
        await publish(own.kafka, outgoing(event, source=source, at=clock() + timedelta(seconds=seconds)))
    code, found = await doctor(capsys)
    subject = f"clock of the producer (/countersign/{ahead})"
    assert (code, set(found)) == (1, {subject})
    assert "ahead of Kafka's: its requests are denied request.future" in found[subject]["sentence"]
