"""What the rest of the runtime and the services say of their work. Without a collector nothing is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Incoming, Outgoing
    from countersign.runtime.tracing.spans import Attributes, SpanKind

E = TypeVar("E")


class Work(Protocol):
    """Work under way. What it causes carries `traceparent`; nothing is exported before `end`."""

    traceparent: str | None

    def end(self, attributes: Attributes, error: str | None = None) -> None:
        """Export the span. Call it once, when what it says is committed; `error` is the word for a failure."""
        ...


class FoldWork(Protocol):
    """One batch on its way through a fold, tries that fail included."""

    def decided(self, incoming: Incoming[Any], outcome: object) -> None:
        """Note that an event has an outcome in the transaction under way."""
        ...

    def failed(self, incoming: Incoming[Any]) -> None:
        """Note that an event has none in the transaction under way, whatever an earlier try came to."""
        ...

    def committed(self) -> None:
        """Export a span for each event that has one: the transaction is committed."""
        ...


class Effects(Protocol):
    """The part of a fold that names outcomes."""

    def effect(self, outcome: Any) -> Any:
        """Return the effect of an outcome."""
        ...


class Tracer(Protocol):
    """Makes spans. Nothing here waits, and nothing raises."""

    def clock(self) -> int:
        """Return the time in nanoseconds since 1970, or 0 if nobody needs it."""
        ...

    def continued(self, incoming: Incoming[E]) -> Incoming[E]:
        """Return the event with the traceparent of the span that its fold will have, for what the fold publishes."""
        ...

    def folding(self, fold: Effects) -> FoldWork:
        """Begin a batch of events that came through `continued`."""
        ...

    def sent(self, row: Outgoing, place: object, began: int) -> None:
        """Export the span of a record that the brokers acknowledged; `place` has its partition and offset."""
        ...

    def given_up(self, row: Outgoing, error: BaseException, began: int) -> None:
        """Export the span of a record that nobody acknowledged in time. It may have arrived, and others follow it."""
        ...

    def begin(self, name: str, kind: SpanKind, parent: str | None, *what: str) -> Work:
        """Begin work below the span that `parent` names. The same `what` gives the same span id."""
        ...


class _NoWork:
    """Work that nobody is told of: what it causes carries what it was caused by."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def end(self, attributes: Attributes, error: str | None = None) -> None:
        """Do nothing."""


class _NoFoldWork:
    __slots__ = ()

    def decided(self, incoming: Incoming[Any], outcome: object) -> None:
        """Do nothing."""

    def failed(self, incoming: Incoming[Any]) -> None:
        """Do nothing."""

    def committed(self) -> None:
        """Do nothing."""


class _NoTracer:
    __slots__ = ()

    def clock(self) -> int:
        """Return 0."""
        return 0

    def continued(self, incoming: Incoming[E]) -> Incoming[E]:
        """Return the event as it came: what follows from it names the span before."""
        return incoming

    def folding(self, fold: Effects) -> FoldWork:
        """Return what does nothing."""
        del fold
        return NO_FOLD_WORK

    def sent(self, row: Outgoing, place: object, began: int) -> None:
        """Do nothing."""

    def given_up(self, row: Outgoing, error: BaseException, began: int) -> None:
        """Do nothing."""

    def begin(self, name: str, kind: SpanKind, parent: str | None, *what: str) -> Work:
        """Return work that nobody is told of."""
        del name, kind, what
        return _NoWork(parent)


NO_FOLD_WORK: FoldWork = _NoFoldWork()
NO_TRACER: Tracer = _NoTracer()
