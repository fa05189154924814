"""A producer whose record could not be read learns it from the verifier, and a later good record is judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from countersign.client import Decisions
from tests.support.events import an_access_requested, outgoing
from tests.support.kafka import publish, publish_raw
from tests.support.whole_stack import WholeStack, until

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.client import RequestState
    from tests.support.stack import RunningStack

# What a producer did, and what it is told: the field and the mend, never the value.
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a digest with padding": ({"digest": "secret-digest-of-44-characters-with-padding="}, "digest"),
    "a name of another spelling": ({"action": None, "Action": "login"}, "action"),
    "a number for an id": ({"user_id": 4711471147114711}, "user_id"),
}


async def told(stack: RunningStack, request_id: UUID, seconds: float = 6) -> RequestState:
    """Return what the verifier says when it is enough, or after so many seconds."""
    async with Decisions(stack.env["VERIFIER_URL"], stack.env["SERVICE_TOKEN"]) as decisions:
        return await decisions.wait(request_id, seconds=seconds)


async def refused(stack: RunningStack, request_id: UUID) -> RequestState:
    """Ask until it is told: the record may be read a moment later."""
    for _ in range(20):
        state = await told(stack, request_id, seconds=0.5)
        if state.state != "undecided":
            return state
    raise AssertionError("nothing was told")


@pytest.mark.parametrize("case", BROKEN)
async def test_a_refusal_names_the_field_and_no_value(stack: RunningStack, case: str) -> None:
    """Under the id that the record names."""
    change, field = BROKEN[case]
    free = (await WholeStack(stack).household(two_factor=False)).owner
    request = an_access_requested(account_id=free.account_id, user_id=free.user_id)
    good = outgoing(request)
    value = json.dumps(json.loads(good.value) | change).encode()
    await publish_raw(WholeStack(stack).kafka, good.topic, good.key, value, list(good.headers))
    state = await refused(stack, request.request_id)
    assert state.state == "refused"
    assert state.cause is not None
    assert state.cause.startswith(field)
    assert "secret" not in state.cause
    assert "4711" not in state.cause
    assert (state.grant, state.reason, state.challenge) == (None, None, None)
    await publish(WholeStack(stack).kafka, good)
    assert (await told(stack, request.request_id)).state == "granted"  # while a poll waits, a good record may come


async def test_structured_mode_is_told_too(stack: RunningStack) -> None:
    """The commonest mistake: the whole CloudEvent as the value, and no header but its content type."""
    free = (await WholeStack(stack).household(two_factor=False)).owner
    request = an_access_requested(account_id=free.account_id, user_id=free.user_id)
    good = outgoing(request)
    event = {"specversion": "1.0", "type": request.ce_type, "data": json.loads(good.value)}
    headers = [("content-type", b"application/cloudevents+json")]
    await publish_raw(WholeStack(stack).kafka, good.topic, good.key, json.dumps(event).encode(), headers)
    state = await refused(stack, request.request_id)
    assert state.state == "refused"
    assert "binary mode" in str(state.cause)


async def test_a_broken_copy_takes_no_decision_back(stack: RunningStack) -> None:
    """Whoever may write to the topic cannot make a request that was judged look refused."""
    free = (await WholeStack(stack).household(two_factor=False)).owner
    request = an_access_requested(account_id=free.account_id, user_id=free.user_id)
    good = outgoing(request)
    await publish(WholeStack(stack).kafka, good)
    assert (await told(stack, request.request_id)).state == "granted"
    value = json.dumps(json.loads(good.value) | {"digest": "x"}).encode()
    await publish_raw(WholeStack(stack).kafka, good.topic, good.key, value, list(good.headers))
    last = an_access_requested(account_id=free.account_id, user_id=free.user_id)
    await publish(WholeStack(stack).kafka, outgoing(last))
    assert (await told(stack, last.request_id)).state == "granted"
    assert (await told(stack, request.request_id)).state == "granted"


async def test_who_wrote_it_is_on_the_metrics_page(stack: RunningStack) -> None:
    """By kind and source, from the process that read the record."""
    good = outgoing(an_access_requested(), source="billing")
    await publish_raw(WholeStack(stack).kafka, good.topic, good.key, b"{}", list(good.headers))
    port = stack.layout.port("risk_evaluator health")
    labels = 'kind="off_contract",source="/countersign/billing",topic="access.requests.v1"'
    wanted = f"countersign_dead_letters_total{{{labels}}} 1.0"

    async def is_there() -> bool:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as page:
            return wanted in await page.text()

    await until(is_there, "the count")
