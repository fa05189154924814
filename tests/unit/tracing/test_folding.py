"""A fold's spans are made after its commit: one for what was committed, none for what was not."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from countersign.runtime.errors import OffContractError
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import absorb
from countersign.runtime.messages.record import Incoming, Outgoing, Record
from countersign.runtime.publishing.outbox import NOTHING
from countersign.runtime.tracing.collecting import Collecting
from countersign.runtime.tracing.context import context_of
from countersign.runtime.tracing.spans import SpanKind, ours
from tests.support.toy import Added

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.tracing.spans import Span

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
REQUEST = UUID("019afa9e-3af8-7c1f-8d5a-0f5e7a1b2c3d")
BEGUN = f"00-{REQUEST.hex}-{REQUEST.hex[16:]}-01"


@dataclass
class _Database:
    """Commits, or fails while committing, as it is told."""

    commits: list[bool] = field(default_factory=list)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield
        if self.commits and not self.commits.pop(0):
            raise ConnectionResetError

    def is_in_transaction(self) -> bool:
        return True

    async def execute(self, *_: object) -> None:
        """Keep a dead letter."""


@dataclass
class _Fold:
    """Comes to what it is told, one try after the other: an outcome, None, or an exception."""

    outcomes: list[Any]
    dedupes_by_key: bool = True
    delay_ms_max: int = 0

    def saves_at_once(self, _events: object) -> bool:
        return False

    async def load(self, _db: object, _events: object) -> tuple[None, datetime]:
        return None, NOON

    def decide(self, *_: object) -> Any:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def save(self, *_: object) -> Any:
        return NOTHING

    def effect(self, outcome: str) -> Effect:
        return Effect(outcome)

    def committed(self, _outcomes: object) -> None:
        """Nobody waits."""


def _incoming(traceparent: str | None = BEGUN, offset: int = 7) -> Incoming[Added]:
    headers = () if traceparent is None else (("traceparent", traceparent.encode()),)
    record = Record("toys", 3, offset, b"", b"", headers, NOON)
    return Incoming(Added(id=REQUEST, account="a"), record, "code 481516", NOON, traceparent)


async def _folded(spans: list[Span], outcomes: list[Any], commits: list[bool], tries: int) -> None:
    tracer = Collecting("toy", spans.append)
    fold: Any = _Fold(outcomes)
    database: Any = _Database(commits)
    incoming, work = tracer.continued(_incoming()), tracer.folding(fold)
    for _ in range(tries):
        try:
            await absorb(database, fold, [incoming], work=work)
        except ConnectionResetError:
            continue
        return


@pytest.mark.parametrize(
    ("outcomes", "commits", "tries", "told"),
    [
        (["added"], [True], 1, ["added"]),
        ([None], [True], 1, []),  # known already
        (["added"], [False], 1, []),  # rolled back, and read again by somebody else
        (["added", "added"], [False, True], 2, ["added"]),
        (["added", "denied"], [False, True], 2, ["denied"]),  # the first try came to nothing
        (["added", None], [False, True], 2, ["added"]),  # the first try was committed, and the answer was lost
        (["added", ZeroDivisionError()], [False, True], 2, []),
    ],
)
async def test_a_span_tells_what_was_committed_and_nothing_else(
    outcomes: list[Any], commits: list[bool], tries: int, told: list[str]
) -> None:
    """Each way of a transaction, with the tries of one batch."""
    spans: list[Span] = []
    await _folded(spans, outcomes, commits, tries)
    assert [span.attributes["countersign.outcome"] for span in spans] == told


async def test_a_second_try_that_ends_as_a_dead_letter_leaves_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one under its id came first meanwhile."""

    async def kept(_db: object, letters: list[object]) -> None:
        assert len(letters) <= 1

    monkeypatch.setattr("countersign.runtime.folding.dead_letter.keep", kept)
    spans: list[Span] = []
    await _folded(spans, ["added", OffContractError("id: known with other contents")], [False, True], 2)
    assert spans == []


async def test_a_span_stands_between_the_record_and_what_is_published() -> None:
    """Its parent is what the record names, and what follows names it; told as the conventions for messaging say."""
    spans: list[Span] = []
    await _folded(spans, ["added"], [True], 1)
    (span,) = spans
    assert (span.name, span.kind, span.parent) == ("process toys", SpanKind.CONSUMER, context_of(BEGUN))
    assert Collecting("toy", spans.append).continued(_incoming()).traceparent == span.context.traceparent
    assert Collecting("toy", spans.append).continued(_incoming(offset=8)).traceparent != span.context.traceparent
    assert Collecting("zoo", spans.append).continued(_incoming()).traceparent != span.context.traceparent
    assert span.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "toys",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 7,
        "messaging.message.id": str(Added(id=REQUEST, account="a").event_id()),
        "messaging.consumer.group.name": "countersign.toy",
        "countersign.outcome": "added",
    }


@pytest.mark.parametrize("traceparent", [None, BEGUN[:-2] + "00", "none"])
def test_a_record_without_a_sampled_trace_is_handed_on_as_it_came(traceparent: str | None) -> None:
    """Also when spans are made of others."""
    spans: list[Span] = []
    tracer = Collecting("toy", spans.append)
    incoming = _incoming(traceparent)
    assert tracer.continued(incoming) is incoming
    work = tracer.begin("a call", SpanKind.SERVER, traceparent)
    assert work.traceparent == traceparent
    work.end({})
    assert spans == []


@dataclass(frozen=True)
class _Acknowledged:
    partition: int = 2
    offset: int = 11


def _outgoing(topic: str, value: bytes = b"{}") -> Outgoing:
    return Outgoing(UUID(int=5), topic, b"k", value, (("traceparent", BEGUN.encode()),))


def test_a_request_that_begins_its_trace_is_the_span_that_its_traceparent_names() -> None:
    """Everywhere else what is sent is below the span that caused it; of an event nothing is read but three ids."""
    spans: list[Span] = []
    tracer = Collecting("gateway", spans.append)
    value = b'{"request_id":"r-1","user_id":"u-1","challenge_id":null,"sealed_code":"c","client":{"ip":"10.0.0.1"}}'
    tracer.sent(_outgoing("access.requests.v1", value), _Acknowledged(), 1)
    Collecting("verifier", spans.append).sent(_outgoing("access.decisions.v1"), _Acknowledged(), 1)
    root, other = spans
    assert (root.context, root.parent, root.kind) == (context_of(BEGUN), None, SpanKind.PRODUCER)
    assert other.parent == root.context != other.context
    assert {name: root.attributes[name] for name in root.attributes if not name.startswith("messaging.")} == ours(
        request_id="r-1", user_id="u-1", outcome="sent"
    )
    assert root.attributes["messaging.destination.partition.id"] == "2"
    assert root.attributes["messaging.kafka.offset"] == 11


def test_what_is_sent_again_has_one_span() -> None:
    """An outbox row that could not be deleted is published again; a form that was sent twice, its request too."""
    spans: list[Span] = []
    tracer, row = Collecting("gateway", spans.append), _outgoing("access.requests.v1")
    tracer.given_up(row, TimeoutError(), 1)  # nobody tries again, and it may have arrived
    tracer.sent(row, _Acknowledged(), 1)
    assert [(span.error, span.context) for span in spans] == [("TimeoutError", context_of(BEGUN))]
    for _ in range(2):
        tracer.begin("a page", SpanKind.INTERNAL, BEGUN, "loaded").end({})
    assert len(spans) == 2
