"""Odd but honest requests, from the record on Kafka to the decision: nobody with the right password is left waiting."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp

from countersign.client import Decisions
from countersign.runtime.broker.kafka import KafkaConnection
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.kafka import publish_raw
from tests.support.whole_stack import WholeStack

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.client import RequestState
    from tests.support.stack import RunningStack
    from tests.support.whole_stack import Person

# Each is a record that was a dead letter; what decides something in it is right.
ODD_FIELDS: list[dict[str, Any]] = [
    {"client": {"ip": "10.1.2.3", "locale": "en_AU"}},
    {"client": {"ip": "10.1.2.3", "locale": ""}},
    {"client": {"ip": "10.1.2.3", "locale": "en-US,en;q=0.9"}},
    {"client": {"ip": "10.1.2.3", "locale": {"language": "en"}}},
    {"client": {"ip": "10.1.2.3:51000"}},
    {"client": {"ip": "[2001:db8::2]:443"}},
    {"client": {"ip": "fe80::1%eth0"}},
    {"client": {"ip": "unknown"}},
    {"client": {"ip": 167838211}},
    {"client": None},
    {"summary": None},
    {"summary": {"what": "x" * 61}},
    {"summary": {"what": "x" * 300, "rows": -1, "format": ["csv"]}},
    {"summary": {"what": "two\nlines \ud83c"}},
]
ODD_HEADERS: list[dict[str, bytes | None]] = [
    {"content-type": None},
    {"content-type": b"text/plain; charset=utf-8"},
    {"ce_source": b"\xff", "ce_id": None},
    {"traceparent": b"none"},
]


async def ask(
    stack: RunningStack, person: Person, fields: dict[str, Any], headers: dict[str, bytes | None], **over: Any
) -> UUID:
    """Publish a request as it was written by somebody else's program; return its id."""
    request = an_access_requested(account_id=person.account_id, user_id=person.user_id, **over)
    good = outgoing(request)
    time = clock().isoformat().replace("T", "t").replace("+00:00", "123z").encode()  # nanoseconds, lower case
    sent = dict(good.headers) | {"ce_time": time, "ce_source": b"/odd"} | headers
    kept = [(name, value) for name, value in sent.items() if value is not None]
    value = json.dumps(json.loads(good.value) | fields).encode()
    await publish_raw(KafkaConnection.named(stack.env), good.topic, good.key, value, kept)
    return request.request_id


async def decided(stack: RunningStack, request_id: UUID) -> RequestState:
    async with Decisions(stack.env["VERIFIER_URL"], stack.env["SERVICE_TOKEN"]) as decisions:
        return await decisions.wait(request_id, seconds=10)


async def test_odd_requests_are_decided(stack: RunningStack) -> None:
    """Without two-factor each is granted; with it an odd address is a reason to ask for a code, not for silence."""
    whole = WholeStack(stack)
    free, protected = (await whole.household(two_factor=False)).owner, (await whole.household()).owner
    asked = [await ask(stack, free, fields, {}) for fields in ODD_FIELDS]
    asked += [await ask(stack, free, {}, headers) for headers in ODD_HEADERS]
    assert {(await decided(stack, each)).state for each in asked} == {"granted"}
    for ip in ("unknown", "10.1.2.3:51000"):
        state = await decided(stack, await ask(stack, protected, {"client": {"ip": ip, "locale": "C"}}, {}))
        assert state.state == "challenged", state


async def test_a_long_name_is_cut_in_the_text(stack: RunningStack) -> None:
    """The code arrives all the same, in one text, with as much of the name as there is room for."""
    whole = WholeStack(stack)
    owner = (await whole.household()).owner
    seen = len(await whole.texts(owner.number))
    name = "Customers of spring " * 9
    fields = {"summary": {"what": name, "rows": 412}, "client": {"ip": "10.1.2.3", "locale": "en_AU"}}
    request_id = await ask(stack, owner, fields, {}, action="export")
    assert (await decided(stack, request_id)).state == "challenged"
    await whole.code(owner.number, "Customers of spring", nth=1)
    text = (await whole.texts(owner.number))[seen]
    assert "412" in text
    assert name not in text


async def test_repairs_are_on_the_metrics_page(stack: RunningStack) -> None:
    """By field and source, from the process that read the record."""
    free = (await WholeStack(stack).household(two_factor=False)).owner
    await decided(stack, await ask(stack, free, {"client": {"ip": "10.1.2.3", "locale": "en_AU"}}, {}))
    port = stack.layout.port("risk_evaluator health")
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as page:
        text = await page.text()
    assert 'countersign_repaired_total{field="client.locale",source="/odd",topic="access.requests.v1"}' in text
