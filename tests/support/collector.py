"""An OTLP collector on loopback, for the real exporter to talk to: it keeps spans, refuses them, or never answers."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Written

from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

SPANS_BYTES_MAX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it came over the wire. `parent` is empty for a root."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent: str
    seconds: float
    failed: bool
    attributes: Mapping[str, str | int]

    @property
    def title(self) -> str:
        """Return who did what."""
        return f"{self.service}: {self.name}"


@dataclass
class Collector:
    """What arrived. `status` other than 200 refuses; `silent` answers nothing; of each batch `rejects` are lost."""

    url: str = ""
    spans: list[Seen] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    calls: int = 0
    status: int = 200
    silent: bool = False
    rejects: int = 0
    body: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """Take a batch."""
        self.calls += 1
        self.headers.append(dict(request.headers))
        raw = await request.read()
        if self.silent:
            await asyncio.sleep(3600)
        if self.status != web.HTTPOk.status_code:
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        batch = ExportTraceServiceRequest.FromString(raw)
        self.body += str(batch)
        for group in batch.resource_spans:
            service = str(_plain(group.resource.attributes)["service.name"])
            self.spans += [_seen(service, span) for scope in group.scope_spans for span in scope.spans]
        told = ExportTraceServiceResponse()
        told.partial_success.rejected_spans = self.rejects
        return web.Response(body=told.SerializeToString(), content_type="application/x-protobuf")

    def of(self, trace_id: str) -> list[Seen]:
        """Return the spans of a trace."""
        return [span for span in self.spans if span.trace_id == trace_id]


def tree(spans: Iterable[Seen]) -> dict[str, list[str]]:
    """Return who did what below whom; the root is below the empty string. A parent that is not there is an orphan."""
    spans = list(spans)
    titles = {span.span_id: span.title for span in spans} | {"": ""}
    found = defaultdict(list)
    for span in spans:
        found[titles.get(span.parent, f"nobody ({span.parent})")].append(span.title)
    return {above: sorted(below) for above, below in found.items()}


async def all_whole(collector: Collector, expected: set[str]) -> None:
    """Wait until these traces, and all others that our services began, have one root each and no orphans."""
    odd: dict[str, dict[str, list[str]]] = {}

    async def whole() -> bool:
        begun = {one.trace_id for one in collector.spans if one.trace_id.endswith(one.span_id)}
        trees = {trace_id: tree(collector.of(trace_id)) for trace_id in expected | begun}
        odd.clear()
        odd.update({trace_id: below for trace_id, below in trees.items() if not _is_whole(below)})
        return not odd

    try:
        await eventually(whole, within=20)
    finally:
        assert odd == {}


def _is_whole(below: Mapping[str, list[str]]) -> bool:
    return len(below.get("", ())) == 1 and not any(title.startswith("nobody") for title in below)


def _seen(service: str, span: Written) -> Seen:
    return Seen(
        service,
        span.name,
        Written.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        span.status.code == span.status.STATUS_CODE_ERROR,
        _plain(span.attributes),
    )


def _plain(attributes: Iterable[KeyValue]) -> dict[str, str | int]:
    return {
        one.key: one.value.int_value if one.value.HasField("int_value") else one.value.string_value
        for one in attributes
    }


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """Run a collector."""
    collector = Collector()
    app = web.Application(client_max_size=SPANS_BYTES_MAX)
    app.router.add_post("/v1/traces", collector.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()
