"""Records that are folded or sent more than once, by the parts that try again: each has one span."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from countersign.client.requests import traceparent_of
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.checkpoint import nothing
from countersign.runtime.folding.batch import Batch, Folder
from countersign.runtime.messages.record import Incoming, Outgoing, Record
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.tracing.collecting import Collecting
from countersign.runtime.tracing.context import context_of
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from tests.support.scripted import NOON, QUIET, TOPIC, Publishing, ScriptedDatabase, ScriptedFold, ScriptedLink
from tests.support.virtual_time import run_virtually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from countersign.runtime.tracing.spans import Span

KAFKA = KafkaConnection(bootstrap_servers="127.0.0.1:1")


@dataclass(frozen=True)
class _Event:
    request_id: UUID

    def event_id(self) -> UUID:
        return self.request_id


class _Fold(ScriptedFold):
    """Knows again what is committed, and notes what events carry when they are decided."""

    def __init__(self, db: ScriptedDatabase) -> None:
        super().__init__()
        self._db = db
        self.carried: dict[int, set[str | None]] = {}

    def parse(self, record: Record) -> Incoming[Any] | None:
        incoming = super().parse(record)
        assert incoming is not None
        named = record.header("traceparent")
        assert named is not None
        return replace(incoming, event=_Event(_request(record.offset)), traceparent=named.decode())

    def decide(self, incoming: Incoming[Any], state: None, now: datetime) -> Any:
        self.carried.setdefault(incoming.record.offset, set()).add(incoming.traceparent)
        if (incoming.record.partition, incoming.record.offset) in self._db.tables.folded:
            return None
        return super().decide(incoming, state, now)


class _LosesAnswers(ScriptedDatabase):
    """Commits the first transaction, and is away before it can say so."""

    lost = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with super().transaction():
            yield
        if not self.lost:
            self.lost += 1
            raise ConnectionResetError


def _request(number: int) -> UUID:
    return UUID(int=0x1000_0000_0000_0001 + number)


def _record(offset: int, value: bytes = b"") -> Record:
    begun = traceparent_of(_request(offset))
    assert begun is not None
    return Record(TOPIC, 0, offset, b"key", value, (("traceparent", begun.encode()),), NOON)


def _folded(db: ScriptedDatabase, records: Sequence[Record]) -> tuple[list[Span], _Fold]:
    """Fold records in one batch; return the spans and the fold."""
    spans: list[Span] = []
    link: Any = ScriptedLink(db)
    publishing: Any = Publishing()
    fold = _Fold(db)
    folder = Folder(
        link=link,
        bulk=link,
        publisher=publishing,
        health=Health(),
        metrics=Metrics(),
        checkpoint=nothing,
        log=QUIET,
        tracer=Collecting("toy", spans.append),
    )

    async def story() -> None:
        assert await folder.fold(Batch(fold, records)) == {}

    run_virtually(story())
    return spans, fold


def test_events_whose_commit_was_not_answered_have_their_spans() -> None:
    """The next try finds all of them known: what the first one came to was committed."""
    db = _LosesAnswers()
    spans, _ = _folded(db, [_record(offset) for offset in range(20)])
    assert db.lost == 1
    assert sorted(db.tables.folded) == [(0, offset) for offset in range(20)]
    assert [span.attributes["messaging.kafka.offset"] for span in spans] == list(range(20))


@pytest.mark.parametrize("step", ["parse", "keys", "load", "decide", "save"])
def test_what_is_folded_one_by_one_carries_the_span_of_its_fold(step: str) -> None:
    """A bug sends the batch, or a record, that way; what an event publishes names its own span either way."""
    records = [_record(0), _record(1, step.encode()), _record(2)]
    spans, fold = _folded(ScriptedDatabase(), records)
    assert [span.attributes["messaging.kafka.offset"] for span in spans] == [0, 2]
    for span in spans:
        offset = span.attributes["messaging.kafka.offset"]
        assert isinstance(offset, int)
        assert fold.carried[offset] == {span.context.traceparent}
        assert span.parent == context_of(traceparent_of(_request(offset)))


@dataclass(frozen=True)
class _Place:
    topic: str
    partition: int
    offset: int


@dataclass
class _Producer:
    """Acknowledges what it is sent, after the failures that are in `failures`."""

    failures: list[Exception] = field(default_factory=list)
    sent: int = 0
    dead: bool = False

    async def start(self) -> None:
        """Connect to nobody."""

    async def find(self, topic: str) -> None:
        """Know the topic."""

    def partition_of(self, topic: str, key: bytes) -> int | None:
        del topic, key
        return 3

    async def send(self, record: Outgoing) -> asyncio.Future[Any]:
        acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.failures:
            acknowledged.set_exception(self.failures.pop(0))
        else:
            acknowledged.set_result(_Place(record.topic, 3, 100 + self.sent))
            self.sent += 1
        return acknowledged

    send_alone = send

    async def reach(self) -> None:
        """Answer."""

    async def stop(self, seconds: float) -> None:
        """Close nothing."""


class _Rows:
    def __init__(self) -> None:
        self.parked: list[UUID] = []

    async def forget(self, event_ids: Sequence[UUID]) -> None:
        """Delete them."""

    async def extend(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return set(event_ids)

    async def give_back(self, event_ids: Sequence[UUID], partitions: Sequence[int | None]) -> None:
        """Leave them to nobody."""

    async def park(self, event_id: UUID, reason: str) -> None:
        del reason
        self.parked.append(event_id)


class _Link:
    async def close(self) -> None:
        """Close nothing."""


def _published(failures: list[Exception], rows: Sequence[Outgoing]) -> tuple[list[Span], list[UUID]]:
    """Publish outbox rows; return the spans, and the rows that were parked."""
    spans: list[Span] = []
    outbox = _Rows()

    async def story() -> None:
        link: Any = _Link()
        publisher = Publisher(
            KAFKA,
            link=link,
            health=Health(),
            metrics=Metrics(),
            checkpoint=nothing,
            log=QUIET,
            make=lambda: _Producer(failures),
            rows=outbox,
            tracer=Collecting("toy", spans.append),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(publisher.run())
            publisher.hand(rows)
            await asyncio.sleep(60)
            publisher.stop()

    run_virtually(story())
    return spans, outbox.parked


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [KafkaConnectionError()],  # tried again with the rest of its queue
        [KafkaConnectionError(), KafkaConnectionError(), KafkaConnectionError()],
        [MessageSizeTooLargeError()],  # refused in a batch with others, and accepted alone
    ],
)
def test_an_outbox_row_has_one_span_with_its_place_once_it_is_acknowledged(failures: list[Exception]) -> None:
    """Whatever failed before: that it was tried is not told, that it was sent is."""
    rows = [Outgoing(uuid4(), "toys.v1", b"k", b"{}", _record(number).headers) for number in range(3)]
    spans, parked = _published(failures, rows)
    assert parked == []
    assert sorted(span.attributes["messaging.kafka.offset"] for span in spans) == [100, 101, 102]
    assert {span.attributes["messaging.message.id"] for span in spans} == {str(row.event_id) for row in rows}
    assert {span.attributes["messaging.destination.partition.id"] for span in spans} == {"3"}
    assert {(span.name, span.error) for span in spans} == {("send toys.v1", None)}


def test_an_outbox_row_that_is_refused_for_good_has_no_span() -> None:
    """It was not sent: it is parked, and has its span when somebody had it published."""
    row = Outgoing(uuid4(), "toys.v1", b"k", b"{}", _record(0).headers)
    spans, parked = _published([MessageSizeTooLargeError(), MessageSizeTooLargeError()], [row])
    assert parked == [row.event_id]
    assert spans == []
