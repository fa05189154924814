"""Whatever a collector does, nobody waits for it: spans are dropped, counted, and told now and then."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import structlog
from pydantic import SecretStr
from structlog.testing import LogCapture

from countersign.client.requests import traceparent_of
from countersign.runtime.settings import TraceSettings
from countersign.runtime.tracing import exporting
from countersign.runtime.tracing.opening import collector_findings, tracing
from countersign.runtime.tracing.spans import SpanKind, ours
from countersign.runtime.watching.metrics import Metrics
from deploy.local.process import free_ports
from tests.support.collector import collecting
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.tracing.tracer import Tracer

QUEUE_SPANS = 600


class Bench:
    """A tracer with its metrics and its log."""

    def __init__(self, url: str, **over: Any) -> None:
        self.settings = TraceSettings(endpoint=url, queue_spans_max=QUEUE_SPANS, **over)  # type: ignore[arg-type]
        self.metrics = Metrics()
        self.logged = LogCapture()
        self.tracer: Tracer

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        log = structlog.wrap_logger(None, [self.logged])
        async with tracing("toy", "0", self.settings, self.metrics, log) as self.tracer:
            yield self

    def make(self, count: int = 1) -> UUID:
        """Make spans of one trace and return its id."""
        request_id = uuid4()
        for number in range(count):
            work = self.tracer.begin("work", SpanKind.SERVER, traceparent_of(request_id), str(number))
            work.end(ours(request_id=request_id, outcome="done"), "broken" if number == 1 else None)
        return request_id

    def dropped(self, cause: str) -> int:
        return int(self.metrics.registry.get_sample_value("countersign_spans_dropped_total", {"cause": cause}) or 0)

    @property
    def exported(self) -> int:
        return int(self.metrics.registry.get_sample_value("countersign_spans_exported_total") or 0)

    @property
    def accounted(self) -> int:
        return self.exported + sum(self.dropped(cause) for cause in ("queue_full", "not_taken", "stopped"))


async def test_spans_arrive_with_the_headers_of_the_settings() -> None:
    """Names, ids, kinds, failures, and whose they are."""
    async with collecting() as collector:
        async with Bench(collector.url, headers={"Authorization": SecretStr("Bearer abc")}).running() as bench:
            request_id = bench.make(2)
        assert [span.title for span in collector.of(request_id.hex)] == ["toy: work", "toy: work"]
        assert [span.failed for span in collector.spans] == [False, True]
        assert {span.parent for span in collector.spans} == {request_id.hex[16:]}
        assert collector.spans[1].attributes == {
            "countersign.request_id": str(request_id),
            "countersign.outcome": "done",
            "error.type": "broken",
        }
        assert collector.headers[0]["Authorization"] == "Bearer abc"
        assert (bench.exported, bench.accounted, bench.logged.entries) == (2, 2, [])


async def test_a_collector_that_hangs_costs_spans_and_nothing_else() -> None:
    """What is beyond the queue is dropped at once, and a stop waits for two seconds at most."""
    async with collecting() as collector:
        collector.silent = True
        bench = Bench(collector.url)
        async with bench.running():
            bench.make()

            async def hangs() -> bool:
                return collector.calls > 0

            await eventually(hangs, within=10)
            bench.make(3 * QUEUE_SPANS)
            assert bench.dropped("queue_full") == 2 * QUEUE_SPANS
            before = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - before < 2 * exporting.STOP_SECONDS_MAX
        assert bench.exported == 0
        assert bench.dropped("stopped") > 0
        assert bench.accounted == 3 * QUEUE_SPANS + 1
        (line,) = bench.logged.entries
        assert line["spans"] == bench.accounted
        assert "exc_info" not in line


@pytest.mark.parametrize(
    ("status", "why"),
    [(None, "it cannot be reached: ConnectionError"), (403, "it answered 403"), (302, "it answered 302"),
     (400, "it answered 400")],
)  # fmt: skip
async def test_a_collector_that_does_not_take_spans_is_told_of_once(
    status: int | None, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unreachable, refusing, or an address that redirects; one line says why, and the library says nothing."""
    monkeypatch.setattr(exporting, "EXPORT_EVERY_SECONDS", 0.05)
    async with collecting() as collector:
        collector.status = status or 200
        bench = Bench(collector.url if status else f"http://127.0.0.1:{free_ports(1)[0]}")
        with caplog.at_level(logging.DEBUG, "opentelemetry"):
            async with bench.running():
                for count in (1, 2, 3):
                    bench.make()

                    async def lost(count: int = count) -> bool:
                        return bench.dropped("not_taken") >= count

                    await eventually(lost, within=20)
        assert bench.exported == 0
        assert [(line["event"], line["why"]) for line in bench.logged.entries] == [("spans_lost", why)]
        assert [record for record in caplog.records if record.name.startswith("opentelemetry")] == []


async def test_a_collector_that_comes_back_gets_what_is_made_from_then_on() -> None:
    """And what it says that it threw away is no success."""
    async with collecting() as collector:
        collector.status = 400
        bench = Bench(collector.url)
        async with bench.running():
            bench.make()

            async def lost() -> bool:
                return bench.dropped("not_taken") == 1

            await eventually(lost, within=10)
            collector.status, collector.rejects = 200, 1
            request_id = bench.make(3)

            async def came() -> bool:
                return bench.exported > 0

            await eventually(came, within=10)
        assert len(collector.of(request_id.hex)) == 3
        assert (bench.exported, bench.dropped("not_taken")) == (2, 2)


@pytest.mark.parametrize(
    ("status", "level", "words"),
    [(None, "warning", "does not answer"), (200, "ok", "takes spans"), (401, "warning", "does not let us in (401)"),
     (404, "warning", "answers 404")],
)  # fmt: skip
async def test_check_says_what_the_collector_answers(status: int | None, level: str, words: str) -> None:
    """A warning at most, since no request waits for it."""
    async with collecting() as collector:
        collector.status = status or 200
        url = collector.url if status else f"http://127.0.0.1:{free_ports(1)[0]}"
        (finding,) = await collector_findings(TraceSettings(endpoint=url))  # type: ignore[arg-type]
    assert (finding.level, finding.subject) == (level, "traces")
    assert words in finding.sentence
    assert await collector_findings(TraceSettings()) == []
