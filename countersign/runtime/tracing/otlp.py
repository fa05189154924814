"""OTLP over HTTP: the only module that loads OpenTelemetry. It is imported when a collector is set, and not before."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from countersign.runtime.tracing.exporting import EXPORT_SECONDS_MAX, NotTakenError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.runtime.tracing.context import Context
    from countersign.runtime.tracing.spans import Span

_SCOPE = InstrumentationScope("countersign")
_REDIRECTS = range(300, 400)
_OK = 200


class _Session(requests.Session):
    """A session that remembers what became of its last call: the exporter says only that it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""
        self.rejected = 0

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Call, and take a redirect for a failure: the exporter would take it for a success."""
        self.why, self.rejected = "", 0
        try:
            answer = super().request(*args, **kwargs)
        except requests.RequestException as error:
            self.why = f"it cannot be reached: {type(error).__name__}"
            raise
        self.why = f"it answered {answer.status_code}"
        if answer.status_code in _REDIRECTS:
            raise requests.TooManyRedirects("a collector does not redirect")
        if answer.status_code == _OK:
            self.rejected = _rejected(answer.content)
        return answer


class OtlpSender:
    """Sends spans of one service to one collector; called by one thread."""

    def __init__(self, url: str, headers: Mapping[str, str], ca_file: str | None, resource: Mapping[str, str]) -> None:
        # It logs each failure, some with a stack trace; SpanExport logs one line in ten minutes.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        self._resource = Resource(dict(resource))
        self._session = _Session()
        self._exporter = OTLPSpanExporter(
            endpoint=url,
            certificate_file=ca_file,
            headers=headers,
            timeout=EXPORT_SECONDS_MAX,
            compression=Compression.Gzip,
            session=self._session,
        )

    def send(self, spans: Sequence[Span]) -> None:
        """Send a batch, trying again for EXPORT_SECONDS_MAX where the collector asks for it. Raises NotTakenError."""
        if self._exporter.export([self._readable(span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise NotTakenError(self._session.why or "the exporter gave no reason")
        if self._session.rejected:
            raise NotTakenError("it rejected some of them as malformed", min(self._session.rejected, len(spans)))

    def close(self) -> None:
        """End a try that waits to be repeated, and the connections."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library annotates all but this

    def _readable(self, span: Span) -> ReadableSpan:
        """Return the span as the library has it. Its own tracer would draw the ids, and ours follow from the events."""
        return ReadableSpan(
            name=span.name,
            context=_place(span.context, remote=False),
            parent=None if span.parent is None else _place(span.parent, remote=True),
            resource=self._resource,
            attributes=span.attributes if span.error is None else {**span.attributes, "error.type": span.error},
            kind=SpanKind[span.kind.name],
            status=Status(StatusCode.UNSET if span.error is None else StatusCode.ERROR, span.error),
            start_time=span.began,
            end_time=max(span.began, span.ended),
            instrumentation_scope=_SCOPE,
        )


def _place(context: Context, *, remote: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(context.trace_id, 16), int(context.span_id, 16), remote, flags)


def _rejected(body: bytes) -> int:
    """Return how many spans a collector says that it threw away, of those that it took."""
    try:
        return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
    except Exception:  # noqa: BLE001 - some answer with JSON or nothing; protobuf's error has no public name of its own
        return 0
