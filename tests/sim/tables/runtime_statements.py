"""In-memory versions of the statements of the runtime's own tables. The contract's cases run against both versions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from countersign.runtime.folding import brake, dead_letter
from countersign.runtime.publishing import outbox
from countersign.runtime.settings import LeaseSettings
from tests.sim.tables.statements import Answer, performs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.sim.tables.rows import Transaction
    from tests.sim.tables.server import Server

_DEFAULTS = LeaseSettings()


def lease(by: Transaction, name: str) -> timedelta:
    """Return how long a lease is: as the connection says, or the default."""
    told = by.settings.get(f"countersign.lease_{name}")
    if told:
        return timedelta(seconds=float(told.split()[0]))
    default: timedelta = getattr(_DEFAULTS, name)
    return default


@performs("outbox.append", outbox.APPEND)
def _append(server: Server, by: Transaction, *columns: Sequence[Any]) -> Answer:
    table, until = server.table("outbox"), by.now + lease(by, "outbox")
    count = 0
    for event_id, topic, key, value, headers in sorted(zip(*columns, strict=True)):
        row = {
            "event_id": event_id,
            "topic": topic,
            "key": key,
            "value": value,
            "headers": headers,
            "leased_until": until,
            "parked_reason": None,
            "owed_at": by.now,
        }
        count += table.insert(by, event_id, row)
    return Answer(status=f"INSERT 0 {count}")


@performs("outbox.take", outbox.TAKE)
def _take(server: Server, by: Transaction, limit: int) -> Answer:
    table, until = server.table("outbox"), by.now + lease(by, "outbox")
    due = [
        (value["leased_until"], row)
        for row, value in table.all(by)
        if value["parked_reason"] is None and value["leased_until"] < by.now and not table.is_locked(by, row)
    ]
    due.sort(key=lambda pair: pair[0])
    taken = [table.change(by, row, leased_until=until) for _, row in due[:limit]]
    for row in taken:
        server.row_taken(row["event_id"])
    return Answer(taken)


@performs("outbox.forget", outbox.FORGET)
def _forget(server: Server, by: Transaction, event_ids: Sequence[UUID]) -> Answer:
    table, count = server.table("outbox"), 0
    for event_id in event_ids:
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


@performs("outbox.pending", outbox.PENDING)
def _pending(server: Server, by: Transaction) -> Answer:
    rows = [value for _, value in server.table("outbox").all(by)]
    waiting = [row for row in rows if row["parked_reason"] is None]
    oldest = min((row["owed_at"] for row in waiting), default=by.now)
    age = (by.now - oldest).total_seconds()
    return Answer([{"waiting": len(waiting), "parked": len(rows) - len(waiting), "oldest": age}])


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


@performs("dead_letter.keep", dead_letter.KEEP)
def _keep(server: Server, by: Transaction, *args: Any) -> Answer:
    table, count = server.table("dead_letter"), 0
    *columns, pause = args
    for topic, partition, offset, key, value, size, sha, headers, at, kind, cause, request_id in zip(
        *columns, strict=True
    ):
        row = {
            "topic": topic,
            "partition": partition,
            "offset": offset,
            "record_key": key,
            "value": value,
            "value_bytes": size,
            "value_sha256": sha,
            "headers": headers,
            "appended_at": at,
            "kind": kind,
            "cause": cause,
            "request_id": request_id,
            "state": "redrive" if kind == "key_unknown" else "new",
            "kept_at": by.now,
            "changed_at": by.now,
            "next_try_at": by.now + pause,
            "tries": 0,
        }
        count += table.insert(by, (topic, partition, offset), row)
    return Answer(status=f"INSERT 0 {count}")


@performs("dead_letter.take", dead_letter.TAKE)
def _take_letters(server: Server, by: Transaction, limit: int, pause: timedelta, topics: Sequence[str]) -> Answer:
    table = server.table("dead_letter")
    due = [
        (value["next_try_at"], row)
        for row, value in table.all(by)
        if value["state"] == "redrive"
        and value["next_try_at"] <= by.now
        and value["topic"] in topics
        and not table.is_locked(by, row)
    ]
    due.sort(key=lambda pair: pair[0])
    taken = [table.change(by, row, next_try_at=by.now + pause) for _, row in due[:limit]]
    return Answer([{**row, "waited": by.now - row["kept_at"]} for row in taken])


@performs("dead_letter.settle", dead_letter.SETTLE)
def _settle_letters(server: Server, by: Transaction, *columns: Sequence[Any]) -> Answer:
    table, count = server.table("dead_letter"), 0
    for topic, partition, offset, state, kind, cause in zip(*columns, strict=True):
        key = (topic, partition, offset)
        before = table.get(by, key)
        if before is not None:
            table.change(by, table.rows[key], state=state, kind=kind, cause=cause or before["cause"], changed_at=by.now)
            count += 1
    by.after_commit.append(server.letters_settled)
    return Answer(status=f"UPDATE {count}")
