"""The end of a topic from the command line: sought by time, filtered, masked, bounded or followed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign import cli
from countersign.operations.log import reading_log
from countersign.operations.tailing import Tail
from countersign.runtime.broker.kafka import KafkaConnection
from tests.support.events import (
    a_client,
    a_summary,
    an_access_denied,
    an_access_granted,
    an_access_requested,
    clock,
    outgoing,
)
from tests.support.kafka import eventually, publish, publish_raw

if TYPE_CHECKING:
    from datetime import datetime

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
TOPIC = "access.requests.v1"


@pytest.fixture(autouse=True)
def _stack(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the servers of the run."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers.kafka)


async def countersign(*arguments: str) -> int:
    """Run the command beside the test's own event loop."""
    return await asyncio.to_thread(cli.main, arguments)


async def tailed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Return what `tail --json` prints."""
    capsys.readouterr()
    await countersign("tail", *arguments, "--json")
    return [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith('{"topic"')]


async def middle_of(servers: Servers) -> tuple[datetime, set[str]]:
    """Publish requests before and after a moment; return the moment and the ids of those after it."""
    await publish(servers.kafka, *(outgoing(an_access_requested()) for _ in range(300)))
    await asyncio.sleep(0.3)
    moment = clock()
    await asyncio.sleep(0.1)
    after = [an_access_requested() for _ in range(60)]
    await publish(servers.kafka, *(outgoing(request) for request in after))
    return moment, {str(request.request_id) for request in after}


async def test_since_seeks_and_reads_nothing_before(servers: Servers) -> None:
    """It reads as many records as were appended since, over all partitions, the oldest first."""
    moment, after = await middle_of(servers)
    async with reading_log(KafkaConnection(bootstrap_servers=servers.kafka), (TOPIC,)) as log:
        tail = Tail(log)
        await tail.since(moment)
        found = [record async for record in tail.records()]
    assert {json.loads(record.value or b"{}").get("request_id") for record in found} >= after
    assert all(record.appended_at >= moment - timedelta(milliseconds=1) for record in found)
    assert [record.appended_at for record in found] == sorted(record.appended_at for record in found)
    assert len({record.partition for record in found}) > 1
    assert tail.read == len(found) < 300
    assert any(start > 0 for start in tail.starts.values())


async def test_the_newest_records_are_shown_and_the_command_ends(
    servers: Servers, capsys: pytest.CaptureFixture[str]
) -> None:
    """As tail(1) does; without personal data, with the ids that one looks for."""
    request = an_access_requested(client=a_client(ip="198.51.100.77"))
    await publish(servers.kafka, *(outgoing(an_access_requested()) for _ in range(20)))
    await asyncio.sleep(0.05)
    await publish(servers.kafka, outgoing(request))
    assert await countersign("tail", TOPIC, "-n", "3") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "access.requested" in line]
    assert len(lines) == 3
    assert str(request.request_id) in lines[-1]
    assert "198.51.100.77" not in lines[-1]
    assert str(request.account_id) in lines[-1]


@pytest.mark.parametrize(
    ("options", "which"),
    [
        (["--where", "client.ip==198.51.100.1"], {0, 1}),
        (["--where", "client.ip==198.51.100.1", "--where", "action!=login"], {1}),
        (["--where", "client.ip!=198.51.100.1"], {2}),
        (["--where", "summary.rows==412"], {1}),
        (["--where", "number_id==null", "--where", "action==export"], {1, 2}),
        (["--where", "none.such!=null"], set()),
        (["--type", "access.requested"], {0, 1, 2}),
    ],
    ids=["ip", "ip_and_action", "other_ip", "number", "null", "no_such_field", "type"],
)
async def test_records_are_chosen(
    servers: Servers, capsys: pytest.CaptureFixture[str], options: list[str], which: set[int]
) -> None:
    """By fields, all conditions together, beside the key; exit code 1 where nothing fits."""
    account = uuid4()
    requests = [
        an_access_requested(account_id=account, client=a_client(ip="198.51.100.1")),
        an_access_requested(
            account_id=account, action="export", client=a_client(ip="198.51.100.1"), summary=a_summary(rows=412)
        ),
        an_access_requested(account_id=account, action="export", client=a_client(ip="198.51.100.2")),
    ]
    await publish(servers.kafka, *(outgoing(request) for request in requests))
    found = await tailed(capsys, TOPIC, "--since", "5m", "--key", str(account), *options)
    wanted = [str(request.request_id) for number, request in enumerate(requests) if number in which]
    assert [each["value"]["request_id"] for each in found] == wanted
    assert (await countersign("tail", TOPIC, "--since", "5m", "--key", str(account), *options) == 0) is bool(which)


async def test_types_are_chosen_and_signatures_are_hidden(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """A grant opens what it was given for, so nobody reads it off a screen."""
    account = uuid4()
    await publish(
        servers.kafka,
        outgoing(an_access_granted(account_id=account, grant="eyJ.secret.grant")),
        outgoing(an_access_denied(account_id=account)),
    )
    common = ["access.decisions.v1", "--since", "5m", "--key", str(account)]
    granted = await tailed(capsys, *common, "--type", "access.granted")
    assert [(each["type"], each["value"]["grant"]) for each in granted] == [("countersign.access.granted.v1", "•••")]
    assert len(await tailed(capsys, *common, "--type", "access.granted", "--type", "access.denied")) == 2


async def test_what_cannot_be_read_is_shown_as_such(servers: Servers, capsys: pytest.CaptureFixture[str]) -> None:
    """Its bytes are counted and not printed; a header cannot write to the terminal."""
    key = str(uuid4())
    await publish_raw(servers.kafka, TOPIC, key.encode(), b"no json", [("ce_type", b"\x1b[2Jx")])
    assert await countersign("tail", TOPIC, "--since", "1m", "--key", key) == 0
    printed = capsys.readouterr().out
    assert "cannot be read: 7 bytes" in printed
    assert "no json" not in printed
    assert "\x1b" not in printed


async def test_follow_goes_on_until_it_is_interrupted(servers: Servers) -> None:
    """A record that is published later is printed at once; Ctrl-C ends it with 130 and no stack trace."""
    account = uuid4()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "countersign.cli", "tail", TOPIC, "-f", "--key", str(account), "--json",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        seen = asyncio.ensure_future(process.stdout.readline())

        async def printed() -> bool:
            await publish(servers.kafka, outgoing(an_access_requested(account_id=account)))
            await asyncio.wait([seen], timeout=0.5)
            return seen.done()

        await eventually(printed, within=60)
        assert json.loads(seen.result())["key"] == str(account)
        process.send_signal(signal.SIGINT)
        _, said = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 130
        assert b"Traceback" not in said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.such.v1"], "no such topic: there are access.assessments.v1"),
        ([TOPIC, "--since", "soon"], "such as 10m"),
        ([TOPIC, "--where", "client.ip=1"], "expected FIELD==VALUE"),
        ([TOPIC, "--type", "access.flown"], "access.requests.v1 has no type access.flown"),
        ([TOPIC, "--bootstrap", "127.0.0.1:9"], "Kafka at 127.0.0.1:9 does not answer"),
    ],
    ids=["topic", "since", "where", "type", "broker"],
)
async def test_what_keeps_it_from_reading_is_a_sentence(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, no stack trace."""
    assert await countersign("tail", *arguments) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
