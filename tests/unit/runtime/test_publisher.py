"""One owner for each row: what the publisher does between hand-over and the end of a row, step by step."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from aiokafka.errors import (
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    TopicAuthorizationFailedError,
)

from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.checkpoint import nothing
from countersign.runtime.database.postgres import Link
from countersign.runtime.publishing import publisher as module
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from tests.support.kafka import eventually
from tests.support.odd_topics import a_row
from tests.support.scripted_producer import OPEN, RowsInMemory, ScriptedProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import pytest

    from countersign.runtime.messages.record import Outgoing


class Desk:
    """A publisher with scripted producers and an outbox in memory."""

    def __init__(self, *producers: ScriptedProducer, lease_seconds: float = 15.0) -> None:
        left = list(producers)
        self.rows = RowsInMemory()
        self.health = Health()
        self.health.tell("start", None)
        self.publisher = Publisher(
            KafkaConnection(bootstrap_servers="nowhere:1"),
            link=Link("", "nobody"),
            health=self.health,
            metrics=Metrics(),
            checkpoint=nothing,
            log=structlog.get_logger(),
            lease=timedelta(seconds=lease_seconds),
            make=lambda: left.pop(0),
            rows=self.rows,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Publisher]:
        """Publish until the body ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publisher.run())
            try:
                yield self.publisher
            finally:
                self.publisher.stop()

    def hand(self, *due: Outgoing) -> None:
        """Hand over rows that are in the outbox."""
        self.rows.there |= {row.event_id for row in due}
        self.publisher.hand(due)

    async def has_left(self, *left: Outgoing) -> bool:
        """Whether just these rows are in the outbox."""
        return self.rows.there == ids(left)


def ids(rows: Iterable[Outgoing]) -> set[object]:
    return {row.event_id for row in rows}


async def test_a_row_that_is_handed_over_twice_is_sent_once() -> None:
    """While it waits, while it is in flight, and while it is not deleted yet."""
    only = ScriptedProducer({"t": [OPEN]})
    desk, row = Desk(only), a_row("t")
    async with desk.running():
        desk.hand(row, row)
        await eventually(lambda: _sent(only, 1))
        desk.hand(row)
        desk.rows.away = True
        only.answer("t")
        await asyncio.sleep(0.1)
        desk.hand(row)
        desk.rows.away = False
        await eventually(desk.has_left)
    assert only.sent == [row]


async def test_a_refused_row_is_found_among_those_refused_with_it() -> None:
    """Each is tried alone; what is refused alone is parked, whatever happens to the producer in between."""
    first = ScriptedProducer({"t": [MessageSizeTooLargeError()] * 3 + [None, OutOfOrderSequenceNumber()]})
    second = ScriptedProducer({"t": [MessageSizeTooLargeError()]})
    desk, rows = Desk(first, second), [a_row("t") for _ in range(3)]
    async with desk.running():
        desk.hand(*rows)
        await eventually(lambda: desk.has_left(rows[1]))
        await eventually(lambda: _parked(desk))
        assert desk.health.reasons == {}
    assert desk.rows.parked == {rows[1].event_id: "MessageSizeTooLargeError"}
    assert first.alone == rows[:2]
    assert second.alone == rows[1:]


async def test_a_row_is_not_sent_again_once_its_lease_has_ended() -> None:
    """The database is away for longer than the lease, so another process may have the row by now."""
    only = ScriptedProducer({"t": [LeaderNotAvailableError()]})
    desk, row = Desk(only, lease_seconds=0.3), a_row("t")
    desk.rows.away = True
    only.script["t"] = [LeaderNotAvailableError()] * 3 + [OPEN]
    async with desk.running():
        desk.hand(row)
        await eventually(lambda: _lets_go(desk))
        tried = len(only.sent)
        await asyncio.sleep(0.5)
        assert len(only.sent) == tried


async def test_a_row_in_flight_keeps_its_lease() -> None:
    """It is extended for as long as the acknowledgement takes."""
    only = ScriptedProducer({"t": [OPEN]})
    desk, row = Desk(only, lease_seconds=0.4), a_row("t")
    async with desk.running():
        desk.hand(row)
        await eventually(lambda: _extended(desk, 4))
        only.answer("t")
        await eventually(desk.has_left)
    assert only.sent == [row]


async def test_a_row_that_somebody_discards_is_not_sent_again() -> None:
    """Its lease cannot be extended: it is gone."""
    only = ScriptedProducer({"t": [TopicAuthorizationFailedError()] * 100})
    desk, row = Desk(only, lease_seconds=0.4), a_row("t")
    async with desk.running():
        desk.hand(row)
        await eventually(lambda: _says(desk, "does not let us write to t"))
        desk.rows.there.clear()
        await eventually(lambda: _lets_go(desk))
        tried = len(only.sent)
        await asyncio.sleep(0.5)
        assert len(only.sent) == tried
        await eventually(lambda: _says(desk, ""))


async def test_missing_rights_are_said_until_they_are_there() -> None:
    """The same producer goes on, the row waits, and other topics do not."""
    only = ScriptedProducer({"t": [TopicAuthorizationFailedError()] * 3})
    desk, row = Desk(only), a_row("t")
    with structlog.testing.capture_logs() as said:
        async with desk.running():
            desk.hand(row)
            await eventually(lambda: _says(desk, "does not let us write to t"))
            desk.hand(a_row("other"))
            await eventually(lambda: desk.has_left(row))
            await eventually(desk.has_left)
            assert desk.health.reasons == {}
    assert [line["log_level"] for line in said if line["event"] == "publish_rights_missing"] == ["error"]
    assert desk.publisher.producing.made == 1


async def test_a_sweeper_is_told_what_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing while as much is owned as may be; none of a partition in trouble; and when there is room again."""
    monkeypatch.setattr(module, "ROWS_MAX", 10)
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.2)
    only = ScriptedProducer({"t": [OPEN] * 10})
    desk = Desk(only, lease_seconds=1)
    wakes: list[int] = []
    woken = asyncio.Event()

    def wake() -> None:
        wakes.append(1)
        woken.set()

    async with desk.running() as publisher:
        publisher.on_room = wake
        assert (publisher.room(500).rows, publisher.room(3).rows) == (10, 3)
        woken.clear()
        desk.hand(*(a_row("t") for _ in range(10)))
        surplus = a_row("other")
        desk.hand(surplus)
        assert publisher.room(500).rows == 0
        await eventually(lambda: _given_back(desk, surplus))
        await eventually(lambda: _excludes(publisher, "t"))
        assert publisher.room(500).without == {("t", 0)}
        desk.hand(late := a_row("t"))
        await eventually(lambda: _given_back(desk, late))
        assert desk.rows.belongs[late.event_id] == 0
        wakes.clear()
        await asyncio.sleep(0.5)
        assert wakes == []  # it is not woken for rows that it cannot have
        woken.clear()
        only.answer("t")
        await asyncio.wait_for(woken.wait(), 5)
        assert publisher.room(500) == module.Room(10, frozenset())


async def test_what_is_not_acknowledged_at_the_end_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next process need not wait for the end of a lease."""
    monkeypatch.setattr(module, "STOP_SECONDS_MAX", 0.1)
    only = ScriptedProducer({"t": [OPEN, None]})
    desk, rows = Desk(only), [a_row("t"), a_row("well")]
    async with desk.running():
        desk.hand(*rows)
        await eventually(lambda: desk.has_left(rows[0]))
    assert only.stopped
    assert desk.rows.given_back == [rows[0].event_id]


async def _sent(producer: ScriptedProducer, wanted: int) -> bool:
    return len(producer.sent) == wanted


async def _parked(desk: Desk) -> bool:
    return bool(desk.rows.parked)


async def _lets_go(desk: Desk) -> bool:
    return not len(desk.publisher._owned)  # noqa: SLF001 - the number that the test is about


async def _extended(desk: Desk, wanted: int) -> bool:
    return len(desk.rows.extended) >= wanted


async def _says(desk: Desk, words: str) -> bool:
    told = desk.health.reasons.get("kafka")
    return told is None if not words else words in (told or "")


async def _given_back(desk: Desk, row: Outgoing) -> bool:
    return row.event_id in desk.rows.given_back


async def _excludes(publisher: Publisher, topic: str) -> bool:
    return any(left_out == topic for left_out, _ in publisher.room(500).without)
