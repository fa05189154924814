"""Spans of folds in a real service: what was committed has one each, however often it was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.client import AccessRequests, Client, KafkaAwayError, ProducerSettings, login_authorised
from countersign.client.requests import traceparent_of
from countersign.runtime.settings import TraceSettings
from countersign.runtime.tracing.collecting import Collecting
from deploy.local.process import free_ports
from tests.support.collector import Collector, collecting
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.settings import ServiceSettings
    from countersign.runtime.tracing.spans import Span
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest.fixture
async def toy(servers: Servers) -> Toy:
    return await a_toy(servers)


def _told_to(toy: Toy, collector: Collector) -> ServiceSettings:
    traces = TraceSettings(endpoint=collector.url)  # type: ignore[arg-type] # pydantic makes the URL
    return toy.settings().model_copy(update={"traces": traces})


def _added(toy: Toy, count: int, **over: str) -> tuple[list[UUID], list[Outgoing]]:
    ids = [uuid4() for _ in range(count)]
    return ids, [toy.added(id=one, traceparent=traceparent_of(one), **over) for one in ids]


async def _count(toy: Toy, count: int) -> None:
    async def there() -> bool:
        return await toy.count() >= count

    await eventually(there)


async def test_a_batch_that_failed_and_was_folded_again_has_one_span_an_event(toy: Toy) -> None:
    """The database is away in the middle; a bug makes the batch go one by one; records come twice; a restart."""
    good, records = _added(toy, 20)
    bad, with_bug = _added(toy, 1, trouble="bug in save")
    failures = [ConnectionResetError(), ConnectionResetError()]

    async def away(point: str) -> None:
        if point == "decided" and failures:
            raise failures.pop()

    async with collecting() as collector:
        await publish(toy.servers.kafka, *records[:10], *with_bug, *records[10:], *records)
        for _ in range(2):
            async with running(toy.service(), _told_to(toy, collector), checkpoint=away):
                await _count(toy, len(good))
        assert failures == []
        assert sorted(span.trace_id for span in collector.spans) == sorted(one.hex for one in good)
        assert {span.name for span in collector.spans} == {f"process {toy.topic}"}
        assert {span.attributes["countersign.outcome"] for span in collector.spans} == {"added 1"}
        assert collector.of(bad[0].hex) == []


async def test_a_letter_that_is_folded_again_has_a_span_then(toy: Toy) -> None:
    """Not when it became a dead letter: nothing was committed of it."""
    (waits,), records = _added(toy, 1, trouble="key")
    async with collecting() as collector:
        await publish(toy.servers.kafka, *records)
        async with running(toy.service(), _told_to(toy, collector)):

            async def kept() -> bool:
                return await toy.count("dead_letter") == 1

            await eventually(kept)
            assert collector.spans == []
            toy.fold.keys_held.add("k1")
            await _count(toy, 1)
        (span,) = collector.spans
        assert (span.trace_id, span.parent) == (waits.hex, waits.hex[16:])


@pytest.mark.parametrize("there", [True, False])
async def test_a_submitted_request_is_the_first_span_of_its_trace(servers: Servers, there: bool) -> None:
    """Also when nobody acknowledged it in time: it may have arrived, and what follows would have no parent."""
    spans: list[Span] = []
    kafka = servers.kafka if there else f"127.0.0.1:{free_ports(1)[0]}"
    settings = ProducerSettings(bootstrap_servers=kafka, submit_seconds=5 if there else 0.3)
    async with AccessRequests("gateway", settings, tracer=Collecting("gateway", spans.append)) as requests:
        request_id, user_id = uuid4(), uuid4()
        authorised = login_authorised(request_id, user_id, "secret")
        built = requests.build("login", uuid4(), user_id, Client(ip="203.0.113.7"), authorised, request_id=request_id)
        if there:
            await requests.submit(built)
        else:
            with pytest.raises(KafkaAwayError):
                await requests.submit(built)
    (span,) = spans
    assert (span.context.traceparent, span.parent) == (traceparent_of(request_id), None)
    assert (span.error is None) == there
    assert ("messaging.kafka.offset" in span.attributes) == there
    assert span.attributes["countersign.user_id"] == str(user_id)
    assert "203.0.113.7" not in str(span)
