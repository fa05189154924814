"""Invariant 11, on the whole stack at DEBUG: everything that can be read is searched for what must not be read."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import pytest

from countersign.contract import challenge_id_of
from deploy.local.topics import topics
from tests.support.collector import all_whole, collecting
from tests.support.drive import other_than
from tests.support.events import an_access_requested, outgoing
from tests.support.fleet import SERVICES
from tests.support.kafka import publish_raw, read_topic
from tests.support.needles import Needles, all_processes, all_tables, all_topics, secrets_in
from tests.support.remarks import problem_of
from tests.support.rest import come_to_rest
from tests.support.sns_stand_in import Reply
from tests.support.stage import a_stage
from tests.support.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.support.collector import Collector
    from tests.support.people import Person

pytestmark = pytest.mark.servers

AGE_TEXTS = "UPDATE verifier.send SET issued_at = issued_at - interval '31 seconds'"
HANG_UP = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'countersign.%'
"""
# Grants are signed to be carried: on the topic of decisions, in the verifier's table, and on their way between them.
GRANTS_MAY_STAND = re.compile(r"topic access\.decisions\.v1/|table verifier\.(decision\.grant_jws|outbox\.value)$")
# A record off contract is kept as it came, on its topic and in the dead letter; its cause quotes nothing.
AS_IT_CAME = re.compile(r"topic |table \w+\.dead_letter\.(value|headers|record_key)$")


@pytest.mark.timeout(600)
async def test_nothing_is_to_be_read(tmp_path: Path, say: Callable[[str], None]) -> None:
    """Log-ins with right and wrong codes, exports, denials, bad records, faults; then the search, and its proof."""
    async with AsyncExitStack() as stack:
        collector = await stack.enter_async_context(collecting())
        over = {name: {"TRACES__ENDPOINT": collector.url} for name in SERVICES}
        stage = await stack.enter_async_context(a_stage(tmp_path, log_level="DEBUG", over=over))
        watched = Watched(stage, Needles())
        for held in stage.fleet.servers.secrets.values():
            watched.needles.add("secret", *secrets_in(held))
        await _log_in_and_export(watched)
        await asyncio.gather(_exhaust(watched), _give_up(watched), _is_not_let_in(watched), _confirm(watched))
        await _sns_fails(watched)
        await _hostile_records(watched)
        await _hostile_calls(watched)
        await stage.db.execute(HANG_UP)
        await _log_in(watched, "after-the-fault-7Q", "10.66.0.1")
        await come_to_rest(stage.fleet.servers.kafka, stage.db)
        await _spans_came(watched, collector)
        hay = await _everything(watched)
        found = {where: kinds for where, kinds in watched.needles.found(hay).items() if not _may(where, kinds)}
        assert found == {}
        assert await _planted_are_found(watched) == {"code", "number", "password", "session", "secret", "grant"}
        counts = {kind: len(texts) for kind, texts in watched.needles.by_kind.items()}
        size = sum(map(len, hay.values())) / 1e6
        say(f"leaks: {len(hay)} places, {size:.1f} MB searched for {counts}: nothing found; six planted, six found")


def _may(where: str, kinds: set[str]) -> bool:
    allowed = {"grant"} if GRANTS_MAY_STAND.match(where) else set()
    if AS_IT_CAME.match(where):
        allowed |= {"sloppy"} if where.startswith("topic ") else {"sloppy", "grant"}
    return kinds <= allowed


# what people do


async def _log_in(watched: Watched, password: str, address: str) -> Person:
    person = await watched.person(password)
    async with watched.computer(address) as computer:
        page = await computer.give_password(person, password)
        page = await computer.type_code(page, await computer.read_text(person, 1))
        assert page.url.endswith("/"), page.url
    return person


async def _log_in_and_export(watched: Watched) -> None:
    """Wrong codes, one off form, a resend too early and one in time, the page of the account, an export, log out."""
    person = await watched.person("correct-horse-9W")
    async with watched.computer("10.61.0.1") as computer:
        page = await computer.give_password(person, "correct-horse-9W")
        first = await computer.read_text(person, 1)
        page = await computer.type_code(page, other_than(first))
        page = await computer.type_code(page, other_than(other_than(first)))
        assert problem_of(page.body.decode()) == "wrong"
        page = await computer.type_code(page, "12ab")
        page = await computer.press(page, "resend")
        assert problem_of(page.body.decode()) == "resend_wait"
        await watched.stage.db.execute(AGE_TEXTS)
        page = await computer.press(await computer.get("/login/code"), "resend")
        page = await computer.type_code(page, await computer.read_text(person, 2))
        assert page.url.endswith("/"), page.url
        await computer.get("/account")
        lists = await computer.get("/contacts")
        chosen = await computer.get(next(link for link in lists.links if "list=" in link))
        form = chosen.form_with("format")
        assert form is not None
        page = await computer.past_moment(await computer.submit(chosen, form))
        page = await computer.type_code(page, await computer.read_text(person, 3))
        file = await computer.get(next(link for link in page.links if link.endswith("/file")))
        assert file.body.count(b"@example.net") == 5
        out = next(form for form in page.forms if form.action == "/logout")
        await computer.submit(page, out)


async def _exhaust(watched: Watched) -> None:
    person = await watched.person("exhausted-4H")
    async with watched.computer("10.62.0.1") as computer:
        page = await computer.give_password(person, "exhausted-4H")
        code = await computer.read_text(person, 1)
        while page.state == "code":
            code = other_than(code)
            page = await computer.type_code(page, code)
        assert page.state == "denied"


async def _give_up(watched: Watched) -> None:
    person = await watched.person("given-up-8K")
    async with watched.computer("10.63.0.1") as computer:
        page = await computer.give_password(person, "given-up-8K")
        await computer.read_text(person, 1)
        await computer.press(page, "cancel")


async def _is_not_let_in(watched: Watched) -> None:
    """Try wrong passwords, one of which looks like a code, and an address that nobody has."""
    person = await watched.person("right-one-3Z")
    watched.needles.add("code", "73519264")
    watched.needles.add("password", "not-the-one-5T")
    async with watched.computer("10.64.0.1") as computer:
        for password in ("73519264", "not-the-one-5T"):
            page = await computer.give_password(person, password)
            assert problem_of(page.body.decode()) == "wrong"
        page = await computer.give_password(person, "right-one-3Z", "nobody@example.com")
        assert problem_of(page.body.decode()) == "wrong"


async def _confirm(watched: Watched) -> None:
    """Confirm a given number by the first code that goes to it."""
    person = await watched.person("not-confirmed-2M", confirmed=False)
    async with watched.computer("10.65.0.1") as computer:
        page = await computer.give_password(person, "not-confirmed-2M")
        await computer.type_code(page, await computer.read_text(person, 1))


async def _sns_fails(watched: Watched) -> None:
    """Let SNS fail in every way: the AWS client holds message and number, and logs what it makes of the answers."""
    for n, reply in enumerate((Reply.INTERNAL, Reply.RESET, Reply.HALF, Reply.INVALID, Reply.AUTHORIZATION)):
        person = await watched.person(f"sns-fails-{n}-6V")
        watched.stage.sns.will_answer(person.number, reply)
        async with watched.computer(f"10.67.0.{n + 1}") as computer:
            page = await computer.give_password(person, f"sns-fails-{n}-6V")
            await computer.read_text(person, 1)
            if page.state == "code":  # one whose only text was refused is over already
                await computer.press(page, "cancel")


# what programs do


async def _hostile_records(watched: Watched) -> None:
    """Publish records off contract, a code and a number in every wrong place, and changed copies of real ones.

    An odd address, locale or traceparent is repaired: nothing of it may be left. A summary is shown as it came.
    """
    bootstrap = watched.stage.fleet.servers.kafka
    code, number = "48151623", "+46701740642"
    watched.needles.add("sloppy", code, number)
    good = outgoing(an_access_requested())
    fields: dict[str, Any] = json.loads(good.value)
    for value in (
        {**fields, "request_id": code},
        {**fields, "action": number},
        {**fields, "client": {"ip": number, "locale": code}},
        {**fields, "digest": code, "summary": {"what": f"{number}\u0000", "rows": code}},
        {**fields, "digest": f"{code} {number}"},
        [code, number],
        code,
    ):
        await publish_raw(bootstrap, good.topic, code.encode(), json.dumps(value).encode(), good.headers)
    for name in ("ce_type", "ce_time", "ce_id", "traceparent"):
        headers = [pair for pair in good.headers if pair[0] != name] + [(name, f"{code}\n{number}".encode())]
        await publish_raw(bootstrap, good.topic, good.key, good.value, headers)
    for topic in topics():
        await publish_raw(bootstrap, topic.name, b"k", f"{{{number}: {code}".encode(), good.headers)
        for record in (await read_topic(bootstrap, topic.name))[:3]:
            changed = dataclasses.replace(record, value=(record.value or b"").replace(b"-", b"x", 1))
            await publish_raw(bootstrap, topic.name, changed.key, changed.value, changed.headers)


async def _hostile_calls(watched: Watched) -> None:
    """Problem documents of every kind, and requests that cannot even be read, with something secret in each."""
    fleet, secret = watched.stage.fleet, "Q" * 7 + uuid4().hex + "zzzz"
    watched.needles.add("secret", secret)
    watched.needles.add("code", "27182818", "314159")
    challenge = f"/v1/challenges/{challenge_id_of(uuid4())}/answers"
    bearer = {"Authorization": f"Bearer {fleet.bearer}"}
    calls: list[tuple[str, str, str, Mapping[str, str], Any]] = [
        ("verifier", "POST", challenge, {"Authorization": f"Bearer {secret}"}, {"code": "27182818"}),
        ("verifier", "POST", challenge, {"Authorization": secret}, None),
        ("verifier", "POST", challenge, bearer, {"code": "27182818", "answer_id": "27182818"}),
        ("verifier", "POST", challenge, bearer, {"code": "27182818x", "answer_id": str(uuid4())}),
        ("verifier", "POST", challenge, bearer, {"code": "27182818", "answer_id": str(uuid4())}),
        ("verifier", "POST", challenge, bearer, {"code": 27182818, "answer_id": str(uuid4())}),
        ("verifier", "GET", "/v1/requests/27182818", bearer, None),
        ("verifier", "GET", f"/v1/requests/{uuid4()}?wait=27182818", bearer, None),
        ("exports", "POST", "/v1/exports", bearer, {"account_id": "27182818", "27182818": "314159"}),
        ("exports", "GET", f"/v1/lists/{uuid4()}/contacts?after=27182818", bearer, None),
        ("enrolment", "GET", "/v1/accounts/27182818", bearer, None),
        ("enrolment", "DELETE", f"/v1/accounts/{uuid4()}/places/27182818", bearer, None),
        ("gateway", "GET", "/exports/27182818", {}, None),
        ("gateway", "POST", "/login", {"Content-Type": "application/x-www-form-urlencoded"}, None),
    ]
    async with aiohttp.ClientSession() as http:
        for site, method, path, headers, body in calls:
            url = fleet.url(site) + path
            async with http.request(method, url, headers=headers, json=body, allow_redirects=False) as answer:
                assert 300 <= answer.status < 500, (site, path, answer.status)
                watched.show(f"{site} {answer.status}", await answer.text())
    for site in ("gateway", "verifier", "enrolment", "exports"):
        port = int(fleet.url(site).rpartition(":")[2])
        for lines in (f"Cookie: session={secret}\x01", f"Cookie session={secret}", f"Authorization: {secret}\x00"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /login HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n".encode())
            await writer.drain()
            writer.close()


# the search


async def _everything(watched: Watched) -> dict[str, str]:
    stage, servers = watched.stage, watched.stage.fleet.servers
    assert [name for name in stage.fleet.pids() if stage.fleet.log(name.partition("-")[0])] == list(stage.fleet.pids())
    return {
        **await all_topics(servers.kafka),
        **await all_tables(servers.postgres_dsn),
        **all_processes(stage.fleet.pids()),
        **{f"log {name}": text for name, text in {**stage.fleet.logs(), **stage.broken.logs()}.items()},
        **{f"metrics {name}": text for name, text in (await stage.fleet.metrics()).items()},
        **{f"ready {name}": str(text) for name, text in (await stage.fleet.readiness()).items()},
        **watched.shown,
    }


async def _spans_came(watched: Watched, collector: Collector) -> None:
    """Wait until each trace that we began is whole, faults and all, and show the spans."""
    rows = await watched.stage.db.fetch("SELECT request_id FROM verifier.decision WHERE outcome = 'granted'")
    await all_whole(collector, {row["request_id"].hex for row in rows})
    watched.show("spans", collector.body)


async def _planted_are_found(watched: Watched) -> set[str]:
    """Plant one of each kind where it would lie: a record, a table, bytes, a log, a page, another column."""
    stage, needles = watched.stage, {kind: max(texts) for kind, texts in watched.needles.by_kind.items()}
    grant = await stage.db.fetchval("SELECT grant_jws FROM verifier.decision WHERE grant_jws IS NOT NULL LIMIT 1")
    await publish_raw(stage.fleet.servers.kafka, "sms.deliveries.v1", needles["number"].encode(), b"{}")
    await stage.db.execute("CREATE SCHEMA planted")
    await stage.db.execute(
        "CREATE TABLE planted.things AS SELECT $1::text AS told, $2::bytea AS kept",
        *(needles["password"], needles["session"].encode()),
    )
    (stage.fleet.folder / "planted-0.log").write_text(json.dumps({"event": f"the code is {needles['code']}."}))
    watched.show("a page", f"<p>{grant}</p>")
    stage.fleet.folder.joinpath("planted-1.log").write_text(f"--token={needles['secret']}")
    found = watched.needles.found(await _everything(watched))
    return {kind for where, kinds in found.items() if not _may(where, kinds) for kind in kinds} - {"sloppy"}
