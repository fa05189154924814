"""The tracer at work: it makes spans and hands them on, and never waits."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from countersign.clock import system_nanoseconds
from countersign.runtime.tracing.context import Context, context_of
from countersign.runtime.tracing.spans import (
    Span,
    SpanKind,
    ids_of_event,
    ids_of_value,
    messaging,
    ours,
    traceparent_of_record,
)
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.runtime.messages.record import Incoming, Outgoing, Record
    from countersign.runtime.tracing.spans import Attributes
    from countersign.runtime.tracing.tracer import Effects, FoldWork, Work

E = TypeVar("E")

# The client library begins traces in requests alone; elsewhere the same form only means that a hop made no span.
REQUESTS_TOPIC = "access.requests.v1"
TOLD_REMEMBERED = 10_000  # chosen: what is done again within minutes has one span, not two


class Collecting:
    """Makes the spans of one service."""

    def __init__(self, service: str, export: Callable[[Span], None]) -> None:
        self._service = service
        self._export = export
        self._told: OrderedDict[str, None] = OrderedDict()

    def clock(self) -> int:
        """Return this machine's time: spans of several machines are compared by it, as all tracing does."""
        return system_nanoseconds()

    def continued(self, incoming: Incoming[E]) -> Incoming[E]:
        """Return the event with the traceparent of its fold's span. One without a sampled trace stays as it is."""
        parent = context_of(incoming.traceparent)
        return (
            incoming
            if parent is None
            else replace(incoming, traceparent=self._fold(parent, incoming.record).traceparent)
        )

    def folding(self, fold: Effects) -> FoldWork:
        """Begin a batch."""
        return _Folding(self, fold)

    def folded(self, incoming: Incoming[Any], outcome: str, began: int) -> None:
        """Export the span of an event whose outcome is committed."""
        record = incoming.record
        parent = context_of(traceparent_of_record(record))
        if parent is None:
            return
        # The event's own id, not its ce_id: that is text of whoever sent it.
        event_id = str(incoming.event.event_id())
        attributes = messaging("process", record.topic, record.partition, record.offset, event_id)
        attributes["messaging.consumer.group.name"] = f"countersign.{self._service}"
        attributes |= ids_of_event(incoming.event) | ours(outcome=outcome)
        name = f"process {record.topic}"
        own = self._fold(parent, record)
        self._export(Span(name, SpanKind.CONSUMER, own, parent, began, self.clock(), attributes))

    def _fold(self, parent: Context, record: Record) -> Context:
        """Return the span of a record in this service: reading it again, or in a second try, gives the same one."""
        return parent.below(self._service, "process", record.topic, str(record.partition), str(record.offset))

    def sent(self, row: Outgoing, place: object, began: int) -> None:
        """Export the span of an acknowledged record, unless one of it was exported before."""
        self._tell_of(row, place, began)

    def given_up(self, row: Outgoing, error: BaseException, began: int) -> None:
        """Export the span of a record that nobody acknowledged in time."""
        self._tell_of(row, error, began)

    def _tell_of(self, row: Outgoing, answer: object, began: int) -> None:
        named = next((value for name, value in row.headers if name == "traceparent"), b"")
        found = context_of(named.decode("ascii", "replace"))
        if found is not None and self._is_first(str(row.event_id)):
            self._export(_sent(row, found, answer, began, self.clock()))

    def _is_first(self, what: str) -> bool:
        if what in self._told:
            return False
        self._told[what] = None
        if len(self._told) > TOLD_REMEMBERED:
            self._told.popitem(last=False)
        return True

    def begin(self, name: str, kind: SpanKind, parent: str | None, *what: str) -> Work:
        """Begin work of this service."""
        above = context_of(parent)
        if above is None:
            return NO_TRACER.begin(name, kind, parent, *what)
        return _Working(self, name, kind, above, above.below(self._service, name, *what))

    def done(self, span: Span) -> None:
        """Export the span of work that has ended; work that was told of before is not told of again."""
        if self._is_first(span.context.span_id):
            self._export(span)


def _sent(row: Outgoing, found: Context, answer: object, began: int, ended: int) -> Span:
    """Return the span of a record. A request that begins its trace is the span that its traceparent names."""
    begins = row.topic == REQUESTS_TOPIC and found.begins_trace
    context, parent = (found, None) if begins else (found.below("send", str(row.event_id)), found)
    failed = isinstance(answer, BaseException)
    attributes = messaging(
        "send", row.topic, getattr(answer, "partition", None), getattr(answer, "offset", None), str(row.event_id)
    )
    attributes |= ids_of_value(row.value) | ours(outcome="failed" if failed else "sent")
    error = type(answer).__name__ if failed else None
    return Span(f"send {row.topic}", SpanKind.PRODUCER, context, parent, began, ended, attributes, error)


class _Working:
    __slots__ = ("_began", "_context", "_kind", "_name", "_parent", "_tracer", "traceparent")

    def __init__(self, tracer: Collecting, name: str, kind: SpanKind, parent: Context, context: Context) -> None:
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._parent = parent
        self._context = context
        self._began = tracer.clock()
        self.traceparent: str | None = context.traceparent

    def end(self, attributes: Attributes, error: str | None = None) -> None:
        ended = self._tracer.clock()
        self._tracer.done(
            Span(self._name, self._kind, self._context, self._parent, self._began, ended, attributes, error)
        )


class _Folding:
    """Notes outcomes; a second try of the same events overwrites the first, and one that fails leaves nothing.

    If the answer to a commit was lost, the next try finds the events known and has no outcome for them: the outcome of
    the first try, which was committed, then counts.
    """

    def __init__(self, tracer: Collecting, fold: Effects) -> None:
        self._tracer = tracer
        self._fold = fold
        self._began = tracer.clock()
        self._decided: dict[tuple[int, int], tuple[Incoming[Any], object]] = {}

    def decided(self, incoming: Incoming[Any], outcome: object) -> None:
        self._decided[incoming.record.partition, incoming.record.offset] = (incoming, outcome)

    def failed(self, incoming: Incoming[Any]) -> None:
        self._decided.pop((incoming.record.partition, incoming.record.offset), None)

    def committed(self) -> None:
        for incoming, outcome in self._decided.values():
            self._tracer.folded(incoming, self._fold.effect(outcome).name, self._began)
        self._decided.clear()
