"""In-memory versions of the statements of the runtime's own tables. The contract's cases run against both versions."""

from __future__ import annotations

from datetime import timedelta
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from countersign.runtime.folding import brake, dead_letter, whole_letters
from countersign.runtime.publishing import outbox
from countersign.runtime.settings import LeaseSettings
from tests.sim.tables.statements import Answer, performs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from uuid import UUID

    from tests.sim.tables.rows import Row, Transaction, Values
    from tests.sim.tables.server import Server

_DEFAULTS = LeaseSettings()


def lease(by: Transaction, name: str) -> timedelta:
    """Return how long a lease is: as the connection says, or the default."""
    return _length(name, by.settings.get(f"countersign.lease_{name}"))


@cache
def _length(name: str, told: str | None) -> timedelta:
    if told:
        return timedelta(seconds=float(told.split()[0]))
    default: timedelta = getattr(_DEFAULTS, name)
    return default


@performs("outbox.append", outbox.APPEND)
def _append(server: Server, by: Transaction, *columns: Sequence[Any]) -> Answer:
    return Answer(status=f"INSERT 0 {_keep_rows(server, by, zip(*columns, strict=True))}")


def keep_owed(server: Server, by: Transaction, made: AbstractSet[UUID], *columns: Sequence[Any]) -> None:
    """Do what `outbox.owed` does in a statement that has made these rows. Its columns are those of `owed_columns`."""
    _keep_rows(server, by, (row for made_by, *row in zip(*columns, strict=True) if made_by in made))


def _keep_rows(server: Server, by: Transaction, rows: Iterable[Sequence[Any]]) -> int:
    table, until = server.table("outbox"), by.now + lease(by, "outbox")
    new = []
    for event_id, topic, key, value, headers in sorted(rows):
        row = {
            "event_id": event_id,
            "topic": topic,
            "key": key,
            "value": value,
            "headers": headers,
            "leased_until": until,
            "leased_by": by.loop,
            "parked_reason": None,
            "discarded_at": None,
            "owed_at": by.now,
            "partition": None,
        }
        if table.insert(by, event_id, row):
            new.append(event_id)
    by.after_commit.append(partial(server.rows_owed, new))
    return len(new)


@performs("outbox.take", outbox.TAKE)
def _take(
    server: Server,
    by: Transaction,
    limit: int,
    without: Sequence[str],
    of_topics: Sequence[str],
    partitions: Sequence[int],
) -> Answer:
    table, until = server.table("outbox"), by.now + lease(by, "outbox")
    left_out = set(zip(of_topics, partitions, strict=True))
    due = [
        (value["leased_until"], row)
        for row, value in table.all(by)
        if value["parked_reason"] is None
        and value["leased_until"] < by.now
        and value["topic"] not in without
        and (value["topic"], value["partition"]) not in left_out
        and not table.is_locked(by, row)
    ]
    due.sort(key=lambda pair: pair[0])
    taken = [table.change(by, row, leased_until=until, leased_by=by.loop) for _, row in due[:limit]]

    def tell() -> None:
        if not by.is_cut:  # whoever does not know of its lease has to find the rows once more
            server.rows_taken([row["event_id"] for row in taken])

    by.after_commit.append(tell)
    return Answer(taken)


@performs("outbox.forget", outbox.FORGET)
def _forget(server: Server, by: Transaction, event_ids: Sequence[UUID]) -> Answer:
    table, count = server.table("outbox"), 0
    for event_id in sorted(event_ids):
        if table.get(by, event_id) is not None:
            table.delete(by, table.rows[event_id])
            count += 1
    return Answer(status=f"DELETE {count}")


@performs("outbox.park", outbox.PARK)
def _park(server: Server, by: Transaction, event_id: UUID, reason: str) -> Answer:
    table = server.table("outbox")
    if table.get(by, event_id) is None:
        return Answer(status="UPDATE 0")
    table.change(by, table.rows[event_id], parked_reason=reason)
    return Answer(status="UPDATE 1")


def _mine(server: Server, by: Transaction, event_ids: Sequence[UUID]) -> Iterator[Row]:
    """Yield the rows among these that are there, not parked, and locked by nobody else."""
    table = server.table("outbox")
    for event_id in sorted(event_ids):
        value = table.get(by, event_id)
        if value is not None and value["parked_reason"] is None:
            row = table.rows[event_id]
            if not table.is_locked(by, row):
                yield row


@performs("outbox.extend", outbox.EXTEND)
def _extend(server: Server, by: Transaction, event_ids: Sequence[UUID]) -> Answer:
    table, until = server.table("outbox"), by.now + lease(by, "outbox")
    return Answer(
        [table.change(by, row, leased_until=until, leased_by=by.loop) for row in list(_mine(server, by, event_ids))]
    )


@performs("outbox.give_back", outbox.GIVE_BACK)
def _give_back(server: Server, by: Transaction, event_ids: Sequence[UUID], partitions: Sequence[int | None]) -> Answer:
    table, belongs = server.table("outbox"), dict(zip(event_ids, partitions, strict=True))
    for row in list(_mine(server, by, event_ids)):
        partition = belongs[row.key]
        noted = {} if partition is None else {"partition": partition}
        table.change(by, row, leased_until=by.now, **noted)
    return Answer()


@performs("outbox.pending", outbox.PENDING)
def _pending(server: Server, by: Transaction) -> Answer:
    rows = [value for _, value in server.table("outbox").all(by)]
    waiting = [row for row in rows if row["parked_reason"] is None]
    parked = [row for row in rows if row["parked_reason"] is not None and row["discarded_at"] is None]
    oldest = min((row["owed_at"] for row in waiting), default=by.now)
    age = (by.now - oldest).total_seconds()
    return Answer([{"waiting": len(waiting), "parked": len(parked), "oldest": age}])


@performs("brake.hold", brake.HOLD)
def _hold(server: Server, by: Transaction, topic: str, partition: int, reason: str) -> Answer:
    table, key = server.table("brake"), (topic, partition)
    new = {"topic": topic, "partition": partition, "reason": reason, "since": by.now, "released_at": None}
    if not table.insert(by, key, new):
        table.change(by, table.rows[key], reason=reason, since=by.now, released_at=None)
    return Answer(status="INSERT 0 1")


@performs("brake.held", brake.HELD)
def _held(server: Server, by: Transaction, topics: Sequence[str]) -> Answer:
    rows = (value for _, value in server.table("brake").all(by))
    return Answer([row for row in rows if row["released_at"] is None and row["topic"] in topics])


_LETTER = [
    "topic",
    "partition",
    "offset",
    "record_key",
    "value",
    "value_bytes",
    "value_sha256",
    "headers",
    "appended_at",
    "kind",
    "cause",
    "request_id",
    "whole",
    "source",
]


@performs("whole_letters.whole_of", whole_letters.COUNTED)
def _counted(
    server: Server,
    by: Transaction,
    topics: Sequence[str],
    kinds: Sequence[str],
    sources: Sequence[str],
    of_source_max: Sequence[int],
    of_topic_max: Sequence[int],
) -> Answer:
    hour = by.now.replace(minute=0, second=0, microsecond=0)
    letters = [value for _, value in server.table("dead_letter").all(by) if value["whole"] and value["kept_at"] >= hour]
    rows = []
    asked = zip(topics, kinds, sources, of_source_max, of_topic_max, strict=True)
    for topic, kind, source, most_of_source, most_of_topic in asked:
        of_this = [letter for letter in letters if (letter["topic"], letter["kind"]) == (topic, kind)]
        from_source = sum(letter["source"] == source for letter in of_this)
        counts = {"of_source": min(most_of_source, from_source), "of_topic": min(most_of_topic, len(of_this))}
        rows.append({"topic": topic, "kind": kind, "source": source, **counts})
    return Answer(rows)


def letter_key(row: Values) -> tuple[Any, ...]:
    """Return the primary key of a letter."""
    return (row["topic"], row["partition"], row["offset"], row["appended_at"])


@performs("dead_letter.keep", dead_letter.KEEP)
def _keep(server: Server, by: Transaction, *args: Any) -> Answer:
    table, count = server.table("dead_letter"), 0
    *columns, pause = args
    rows = [dict(zip(_LETTER, values, strict=True)) for values in zip(*columns, strict=True)]
    for row in sorted(rows, key=letter_key):
        waits = row["kind"] == "key_unknown" and row["whole"]
        times = {"kept_at": by.now, "changed_at": by.now, "next_try_at": by.now + pause}
        count += table.insert(by, letter_key(row), {**row, "state": "redrive" if waits else "new", "tries": 0, **times})
    return Answer(status=f"INSERT 0 {count}")


@performs("dead_letter.take", dead_letter.TAKE)
def _take_letters(server: Server, by: Transaction, limit: int, pause: timedelta, topics: Sequence[str]) -> Answer:
    table = server.table("dead_letter")
    due = [
        (value["next_try_at"], row)
        for row, value in table.all(by)
        if value["state"] == "redrive"
        and value["whole"]
        and value["next_try_at"] <= by.now
        and value["topic"] in topics
        and not table.is_locked(by, row)
    ]
    due.sort(key=lambda pair: pair[0])
    taken = [table.change(by, row, next_try_at=by.now + pause) for _, row in due[:limit]]
    return Answer([{**row, "waited": by.now - row["kept_at"]} for row in taken])


@performs("dead_letter.settle", dead_letter.SETTLE)
def _settle_letter(server: Server, by: Transaction, *arguments: Any) -> Answer:
    table, key, (state, kind, cause) = server.table("dead_letter"), arguments[:4], arguments[4:]
    before = table.get(by, key)
    by.after_commit.append(server.letters_settled)
    if before is None:
        return Answer(status="UPDATE 0")
    table.change(by, table.rows[key], state=state, kind=kind, cause=cause or before["cause"], changed_at=by.now)
    return Answer(status="UPDATE 1")
