"""What the runtime's tables do, statement by statement: each case holds in memory and on a real PostgreSQL.

A case is given a function that opens a connection. Leases are `LEASE_SECONDS` long there.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest

from countersign.runtime.database import stopped_sessions
from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.folding import brake, dead_letter, whole_letters
from countersign.runtime.folding.dead_letter import DeadLetter, Redrive
from countersign.runtime.messages.record import Outgoing, Record
from countersign.runtime.publishing import outbox
from tests.sim.world import noting, service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Open = Callable[[], Awaitable[Any]]

LEASE_SECONDS = 0.4
_AT = datetime(2026, 1, 2, tzinfo=UTC)


def _row(number: int) -> Outgoing:
    return Outgoing(UUID(int=number), "t", b"k%d" % number, b"v", (("h", b"\xff"),))


def _letter(offset: int, kind: Any = "bug", topic: str = "t") -> DeadLetter:
    return DeadLetter(Record(topic, 0, offset, b"k", b"v", (("h", b"1"),), _AT), kind, "cause")


async def rows_are_left_alone_for_their_lease(open_: Open) -> None:
    """Then they are taken, the one that waits longest first, and left alone again."""
    db = await open_()
    await outbox.append(db, [_row(2)])
    await asyncio.sleep(0.1)
    await outbox.append(db, [_row(1), _row(3)])
    assert await outbox.take(db, 10) == []
    await asyncio.sleep(LEASE_SECONDS)
    assert [row.event_id.int for row in await outbox.take(db, 1)] == [2]
    assert sorted(row.event_id.int for row in await outbox.take(db, 10)) == [1, 3]
    assert await outbox.take(db, 10) == []
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    assert sorted((await outbox.take(db, 10)), key=lambda row: row.event_id.int) == [_row(1), _row(2), _row(3)]


async def a_row_is_kept_once(open_: Open) -> None:
    """The second time changes nothing, in one statement or in two."""
    db = await open_()
    await outbox.append(db, [_row(1)])
    await outbox.append(db, [_row(1), _row(2)])
    waiting, parked, oldest = await outbox.pending(db)
    assert (waiting, parked) == (2, 0)
    assert 0 <= oldest < 30


async def a_row_is_forgotten_or_parked(open_: Open) -> None:
    """A parked one is counted apart and never taken; an id that is not there is no error."""
    db = await open_()
    await outbox.append(db, [_row(1), _row(2), _row(3)])
    rows = outbox.LinkedRows(_Linked(db))  # type: ignore[arg-type] # what it needs of a link
    await rows.forget([UUID(int=1), UUID(int=9)])
    await rows.park(UUID(int=2), "TooLarge")
    await rows.park(UUID(int=9), "TooLarge")
    assert (await outbox.pending(db))[:2] == (1, 1)
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    assert [row.event_id.int for row in await outbox.take(db, 10)] == [3]


async def a_lease_is_extended_or_given_back(open_: Open) -> None:
    """Of rows that are there and not parked; a given back one is taken at once, but not one of a topic that waits."""
    db = await open_()
    rows = outbox.LinkedRows(_Linked(db))  # type: ignore[arg-type] # what it needs of a link
    await outbox.append(db, [_row(number) for number in range(4)])
    await rows.park(UUID(int=3), "TooLarge")
    await rows.forget([UUID(int=2)])
    await asyncio.sleep(LEASE_SECONDS / 2)
    assert await rows.extend([UUID(int=number) for number in (0, 2, 3, 9)]) == {UUID(int=0)}
    await rows.give_back([UUID(int=1), UUID(int=3)], [None, None])
    await asyncio.sleep(0.05)
    assert await outbox.take(db, 10, [("t", None)]) == []
    assert [row.event_id.int for row in await outbox.take(db, 10, [("other", None), ("t", 0)])] == [1]


async def a_row_that_was_given_back_waits_for_its_partition_alone(open_: Open) -> None:
    """Where one belongs is noted once it is known, and stays noted. One of which nobody knows it is taken."""
    db = await open_()
    rows = outbox.LinkedRows(_Linked(db))  # type: ignore[arg-type] # what it needs of a link
    await outbox.append(db, [_row(number) for number in range(4)])
    ids = [UUID(int=number) for number in range(4)]

    async def taken(*without: outbox.TopicOrPartition) -> list[int]:
        await asyncio.sleep(0.05)
        return sorted(row.event_id.int for row in await outbox.take(db, 10, without))

    await rows.give_back(ids, [0, 0, 1, None])
    assert await taken(("t", 0), ("other", 1)) == [2, 3]
    await rows.give_back(ids, [None] * 4)
    assert await taken(("t", 0), ("t", 1)) == [3]
    await rows.give_back(ids[3:], [0])
    assert await taken(("t", 0)) == [2]
    assert await taken(("t", None)) == []
    assert await taken(("other", None)) == [0, 1, 3]


class _Linked:
    """A link to one connection."""

    def __init__(self, db: Any) -> None:
        self._db = db

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Any]:
        yield self._db


async def a_locked_row_is_passed_over(open_: Open) -> None:
    """Two that take at once take different rows."""
    one, other = await open_(), await open_()
    await outbox.append(one, [_row(number) for number in range(4)])
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    async with one.transaction():
        first = await outbox.take(one, 2)
        second = await outbox.take(other, 10)
    assert len(first) == len(second) == 2
    assert {row.event_id.int for row in (*first, *second)} == {0, 1, 2, 3}


async def who_waits_too_long_for_a_lock_is_told_so_and_can_roll_back(open_: Open) -> None:
    """Then nothing has happened, and the connection is as good as before."""
    one, other = await open_(), await open_()
    first, second = (outbox.LinkedRows(_Linked(db)) for db in (one, other))  # type: ignore[arg-type] # as a link
    await outbox.append(one, [_row(1)])

    async def wait_for_the_lock() -> None:
        async with other.transaction():
            await outbox.append(other, [_row(2)])
            await second.forget([UUID(int=1)])

    async with one.transaction():
        await first.forget([UUID(int=1)])
        with pytest.raises(asyncpg.LockNotAvailableError):
            await wait_for_the_lock()
        assert not other.is_in_transaction()
        assert (await outbox.pending(other))[0] == 1
    assert (await outbox.pending(other))[0] == 0


async def a_transaction_is_whole_or_not_at_all(open_: Open) -> None:
    """What is not committed is seen by nobody else, and gone after a rollback."""
    one, other = await open_(), await open_()
    with suppress(ZeroDivisionError):
        async with one.transaction():
            await outbox.append(one, [_row(1)])
            assert (await outbox.pending(one))[0] == 1
            assert (await outbox.pending(other))[0] == 0
            assert one.is_in_transaction()
            raise ZeroDivisionError
    assert not one.is_in_transaction()
    assert (await outbox.pending(one))[0] == 0
    async with one.transaction():
        await outbox.append(one, [_row(1)])
    assert (await outbox.pending(other))[0] == 1


async def who_inserts_the_same_key_waits(open_: Open) -> None:
    """Until it is known whether the other one commits; then it is there, or it is not."""
    one, other = await open_(), await open_()
    for commits in (True, False):
        number = int(commits)
        transaction = one.transaction()
        await transaction.start()
        assert [row["id"] for row in await one.fetch(service.SAVE, [number], ["a"], timedelta(0))] == [number]
        waiting = asyncio.ensure_future(other.fetch(service.SAVE, [number], ["b"], timedelta(0)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await (transaction.commit() if commits else transaction.rollback())
        assert [row["id"] for row in await waiting] == ([] if commits else [number])


async def a_brake_is_held_and_released(open_: Open) -> None:
    """Held twice it has the last reason; released and held again it is held."""
    db = await open_()
    await brake.hold(db, "t", 1, "first")
    await brake.hold(db, "t", 1, "second")
    await brake.hold(db, "other", 1, "third")
    assert await brake.held(db, ["t"]) == {("t", 1): "second"}


async def a_letter_is_kept_once_and_taken_when_it_is_due(open_: Open) -> None:
    """Only those that somebody redrives, or that wait for a key, each at its time."""
    db = await open_()
    await dead_letter.keep(db, [_letter(1), _letter(2, "key_unknown"), _letter(3, "key_unknown", "other")])
    await dead_letter.keep(db, [_letter(1, "off_contract")])
    assert await dead_letter.take(db, 10, ["t"]) == []
    await asyncio.sleep(dead_letter.RETRY_EVERY.total_seconds() + 0.1)
    (taken,) = await dead_letter.take(db, 10, ["t"])
    assert (taken.record, taken.kind) == (_letter(2).record, "key_unknown")
    assert timedelta(seconds=2) < taken.waited < timedelta(seconds=30)
    assert await dead_letter.take(db, 10, ["t"]) == []


async def letters_of_two_topics_of_one_name_are_told_apart(open_: Open) -> None:
    """By the time of their append; and those that have content are counted by hour, topic, kind and source."""
    db = await open_()
    again = replace(_letter(1).record, appended_at=_AT + timedelta(days=1))
    await dead_letter.keep(db, [_letter(1, "key_unknown"), replace(_letter(1, "key_unknown"), record=again)])
    await dead_letter.keep(db, [replace(_letter(2, "key_unknown"), has_content=False)])
    assert await whole_letters.whole_of(db, [_letter(5), replace(_letter(6), has_content=False)]) == [True, False]
    await asyncio.sleep(dead_letter.RETRY_EVERY.total_seconds() + 0.1)
    taken = await dead_letter.take(db, 10, ["t"])
    assert sorted(letter.record.appended_at for letter in taken) == [_AT, again.appended_at]
    await dead_letter.settle(db, taken[0], [], too_old=True)
    await asyncio.sleep(dead_letter.RETRY_EVERY.total_seconds() + 0.1)
    assert [letter.record for letter in await dead_letter.take(db, 10, ["t"])] == [taken[1].record]


async def a_letter_is_settled_by_what_became_of_it(open_: Open) -> None:
    """Folded: done. Still without its key: taken again. With another cause: it waits for somebody."""
    db = await open_()
    await dead_letter.keep(db, [_letter(number, "key_unknown") for number in (1, 2, 3)])
    for number, failed in ((1, []), (2, [_letter(2, "key_unknown")]), (3, [_letter(3, "bug")])):
        redrive = Redrive(_letter(number).record, "key_unknown", timedelta(seconds=5))
        await dead_letter.settle(db, redrive, failed)
    await asyncio.sleep(dead_letter.RETRY_EVERY.total_seconds() + 0.1)
    assert [taken.record.offset for taken in await dead_letter.take(db, 10, ["t"])] == [2]


async def the_service_keeps_an_event_once_and_does_what_is_due_once(open_: Open) -> None:
    """Its four statements."""
    db = await open_()
    row = await db.fetchrow(service.LOAD, [1, 2])
    assert (row["known"], abs(row["now"] - await db.fetchval("SELECT now()")) < timedelta(seconds=30)) == ([], True)
    assert [r["id"] for r in await db.fetch(service.SAVE, [2, 1], ["a", "b"], timedelta(0))] == [1, 2]
    assert [r["id"] for r in await db.fetch(service.SAVE, [2, 3], ["a", "b"], timedelta(seconds=9))] == [3]
    assert sorted((await db.fetchrow(service.LOAD, [1, 3, 4]))["known"]) == [1, 3]
    assert len(await db.fetch(service.TAKE, 1, timedelta(seconds=9))) == 1
    assert len(await db.fetch(service.TAKE, 9, timedelta(seconds=9))) == 1
    assert await db.fetch(service.TAKE, 9, timedelta(seconds=9)) == []
    assert sorted(r["id"] for r in await db.fetch(service.SETTLE, [1, 3, 7])) == [1, 3]
    assert await db.fetch(service.SETTLE, [1, 3]) == []


async def the_second_fold_notes_an_event_and_what_it_owes_in_one_statement(open_: Open) -> None:
    """Of an event that is known it notes nothing and owes nothing, whatever else comes with it."""
    db = await open_()
    ids = [noting.noted_id(number) for number in range(4)]
    rows = {row_id: _row(number) for number, row_id in enumerate(ids)}

    async def saved(*numbers: int) -> list[int]:
        due = {ids[number]: rows[ids[number]] for number in numbers}
        columns = outbox.owed_columns(due)
        return sorted(row["id"].int for row in await db.fetch(noting.SAVE, list(due), ["a"] * len(due), *columns))

    assert (await db.fetchrow(noting.LOAD, ids))["known"] == []
    assert await saved(2, 1) == [1, 2]
    assert await saved(2, 3) == [3]
    assert sorted((await db.fetchrow(noting.LOAD, ids))["known"]) == ids[1:]
    assert (await outbox.pending(db))[0] == 3
    await asyncio.sleep(LEASE_SECONDS + 0.1)
    assert sorted((await outbox.take(db, 10)), key=lambda row: row.event_id.int) == [rows[one] for one in ids[1:]]


async def a_session_that_ends_takes_its_transaction_with_it(open_: Open) -> None:
    """What it says then is an infrastructure error, also the second time."""
    one, other = await open_(), await open_()
    assert one.get_server_pid() != other.get_server_pid()
    assert await one.fetchval("SELECT current_setting('transaction_read_only')") == "off"
    assert await stopped_sessions.end_stopped_sessions(one) == 0
    transaction = one.transaction()
    await transaction.start()
    await outbox.append(one, [_row(1)])
    one.terminate()
    assert one.is_closed()
    for _ in range(2):
        with pytest.raises(asyncpg.InterfaceError) as met:
            await outbox.pending(one)
        assert kind_of(met.value) is Kind.INFRASTRUCTURE
    assert (await outbox.pending(other))[0] == 0
    await other.close(timeout=2)
    assert other.is_closed()
