"""A message that is refused, from the command that publishes it to the one that says why, through the real worker."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from countersign import cli
from countersign.runtime.folding.dead_letter import DeadLetter, keep
from countersign.runtime.messages.record import Record
from tests.support.evaluator import evaluating
from tests.support.events import a_record, an_access_requested
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
def named(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """Name the test servers in the environment, as a stack would in its file."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)
    monkeypatch.setenv("POSTGRES_DSN", servers.postgres_dsn)
    for name in ("VERIFIER_URL", "SERVICE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return servers


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, arguments)


async def kept(servers: Servers, service: str, **over: Any) -> Record:
    """Put a dead letter into a service's table, as its worker does."""
    good = a_record(an_access_requested())
    fields = {"value": good.value, "offset": uuid4().int >> 66} | over
    record = Record("access.requests.v1", 3, fields["offset"], None, fields["value"], good.headers, good.appended_at)
    db = await asyncpg.connect(servers.dsn_of(service))
    try:
        await keep(db, [DeadLetter(record, "off_contract", "action: missing")])
    finally:
        await db.close()
    return record


async def test_publish_an_unfit_example_and_see_why(named: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """The printed command is the one that answers."""
    async with evaluating(named):
        unfit = ("publish-example", "access.requested", "--set", "action=fly-away", "--anyway")
        assert await countersign(*unfit) == 0
        suggested = re.search(r"countersign (why --topic \S+ --partition \d+ --offset \d+)", capsys.readouterr().out)
        assert suggested is not None

        async def known() -> bool:
            return await countersign(*suggested.group(1).split()) == 0

        await eventually(known)
    printed = capsys.readouterr().out.rpartition("No dead letter")[2]
    assert "refused by risk_evaluator at" in printed
    assert "cause  action: expected one of 'login', 'export'" in printed
    assert "came a string of 8 characters" in printed
    assert "fly-away" not in printed


@pytest.mark.usefixtures("named")
async def test_a_good_example_is_no_dead_letter(capsys: pytest.CaptureFixture[str]) -> None:
    """Then it was read, and the verifier would say what became of it."""
    assert await countersign("publish-example", "access.requested", "--wait", "1") == 0
    printed = capsys.readouterr().out
    assert "set VERIFIER_URL and SERVICE_TOKEN" in printed
    request_id = re.search(r'"request_id": "([^"]+)"', printed)
    assert request_id is not None
    assert await countersign("why", "--request-id", request_id.group(1)) == 1
    assert "No dead letter of enrolment, " in capsys.readouterr().out


async def test_a_letter_is_found_by_any_id_in_it(named: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """Also in a value that nobody can parse, and in capitals."""
    for text in (str(uuid4()), str(uuid4()).upper()):
        record = await kept(named, "risk_evaluator", value=f"{{broken {text}".encode())
        assert await countersign("why", "--request-id", text) == 0
        printed = capsys.readouterr().out
        assert f"access.requests.v1  partition 3  offset {record.offset}" in printed
        assert "cause  action: missing" in printed
        assert text not in printed


async def test_only_what_was_asked_for_is_shown(named: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """One offset, not its neighbours; and of all, as many as asked for."""
    records = [await kept(named, service) for service in ("risk_evaluator", "risk_evaluator", "verifier")]
    place = ("--topic", "access.requests.v1", "--partition", "3", "--offset", str(records[1].offset))
    assert await countersign("why", *place) == 0
    printed = capsys.readouterr().out
    assert [str(record.offset) in printed for record in records] == [False, True, False]
    assert await countersign("why", "--newest", "2") == 0
    assert capsys.readouterr().out.count("  cause  ") == 2


async def test_a_services_role_sees_its_own(named: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """And the command says whose letters it looked at."""
    record = await kept(named, "risk_evaluator")
    place = ("--topic", "access.requests.v1", "--offset", str(record.offset))
    assert await countersign("why", "--dsn", named.dsn_of("risk_evaluator"), *place) == 0
    assert await countersign("why", "--dsn", named.dsn_of("verifier"), *place) == 1
    assert "No dead letter of verifier fits." in capsys.readouterr().out


@pytest.mark.usefixtures("named")
async def test_kafka_that_does_not_answer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """In a sentence, within seconds."""
    assert await countersign("publish-example", "access.requested", "--bootstrap", "127.0.0.1:1") == 2
    assert "Kafka at 127.0.0.1:1 did not take it" in capsys.readouterr().err
