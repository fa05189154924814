"""A service's tracer from its settings, and what `check` says of the collector."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

from countersign.runtime.checkup import fine, warning
from countersign.runtime.tracing.collecting import Collecting
from countersign.runtime.tracing.exporting import SpanExport
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import structlog

    from countersign.runtime.checkup import Finding
    from countersign.runtime.settings import TraceSettings
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.metrics import Metrics

_ANSWER_SECONDS_MAX = 5.0
_SUBJECT = "traces"
_REDIRECTED = 300


@asynccontextmanager
async def tracing(
    service: str, instance: str, settings: TraceSettings, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> AsyncIterator[Tracer]:
    """Yield the service's tracer; on leaving, what it has made is exported, for two seconds at most."""
    url = settings.url
    if url is None:
        yield NO_TRACER
        return
    # OpenTelemetry is loaded here, by whoever set a collector, and by nobody else.
    from countersign.runtime.tracing.otlp import OtlpSender  # noqa: PLC0415

    resource = {"service.namespace": "countersign", "service.name": service, "service.instance.id": instance}
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    ca_file = None if settings.ca_file is None else str(settings.ca_file)
    sender = OtlpSender(url, headers, ca_file, resource)
    export = SpanExport(sender.send, queue_spans_max=settings.queue_spans_max, metrics=metrics, log=log)
    export.start()
    try:
        yield Collecting(service, export.add)
    finally:
        await export.stop()
        sender.close()


async def collector_findings(settings: TraceSettings) -> list[Finding]:
    """Post no spans to the collector and say what it answers. A warning at most: no request waits for it."""
    url = settings.url
    if url is None:
        return []
    where = urlsplit(url).netloc
    headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    headers["Content-Type"] = "application/x-protobuf"
    todo = "spans are lost meanwhile, requests are not affected: see whether it runs, and traces.endpoint"
    try:
        status = await _posted(url, headers, settings)
    except (aiohttp.ClientError, OSError) as error:
        return [warning(_SUBJECT, f"{where} does not answer: {type(error).__name__}", todo)]
    if status in {401, 403}:
        return [warning(_SUBJECT, f"{where} does not let us in ({status})", "see traces.headers of the secrets file")]
    if status >= _REDIRECTED:
        return [warning(_SUBJECT, f"{where} answers {status} and takes no OTLP there", todo)]
    return [fine(_SUBJECT, f"{where} takes spans")]


async def _posted(url: str, headers: dict[str, str], settings: TraceSettings) -> int:
    """Return the status that an empty batch is answered with. Raises aiohttp.ClientError and OSError."""
    ssl_context = None if settings.ca_file is None else await asyncio.to_thread(_trusting, str(settings.ca_file))
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout, trust_env=True) as http,
        http.post(url, data=b"", headers=headers, allow_redirects=False, ssl=ssl_context or True) as answer,
    ):
        return answer.status


def _trusting(ca_file: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)
