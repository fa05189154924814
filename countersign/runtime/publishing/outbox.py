"""What a transaction owes to Kafka: kept with the state, published after the commit, then deleted."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NewType

from countersign.runtime.database import leases
from countersign.runtime.messages.record import Outgoing, headers_from_text, headers_to_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection

# Rows that lie in the outbox of the transaction that makes them true. Only this module calls anything that.
Kept = NewType("Kept", tuple[Outgoing, ...])
NOTHING = Kept(())

# The lease keeps the sweeper away while whoever committed the row publishes it.
APPEND = f"""
INSERT INTO outbox (event_id, topic, key, value, headers, leased_until)
SELECT event_id, topic, key, value, headers, now() + {leases.OUTBOX}
  FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[], $5::text[]) AS o (event_id, topic, key, value, headers)
 ORDER BY event_id
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant of the runtime

_OWED = """
owed AS (
    INSERT INTO outbox (event_id, topic, key, value, headers, leased_until)
    SELECT o.event_id, o.topic, o.key, o.value, o.headers, now() + {lease}
      FROM unnest(${0}::uuid[], ${1}::uuid[], ${2}::text[], ${3}::bytea[], ${4}::bytea[], ${5}::text[])
        AS o (made_by, event_id, topic, key, value, headers)
      JOIN {made} ON {made}.{by} = o.made_by
     ORDER BY o.event_id
        ON CONFLICT DO NOTHING
)
"""

# Left by a dead process, or by a broker that was away. Committed before anything is sent.
TAKE = f"""
UPDATE outbox SET leased_until = now() + {leases.OUTBOX}
 WHERE event_id IN (
       SELECT event_id FROM outbox
        WHERE parked_reason IS NULL AND leased_until < now()
        ORDER BY leased_until LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING event_id, topic, key, value, headers
"""  # noqa: S608 - a constant of the runtime

FORGET = "DELETE FROM outbox WHERE event_id = ANY($1::uuid[])"

# The broker refused it for good: somebody has to look. It is counted by PENDING and raises an alarm.
PARK = "UPDATE outbox SET parked_reason = $2 WHERE event_id = $1"

PENDING = """
SELECT count(*) FILTER (WHERE parked_reason IS NULL) AS waiting,
       count(*) FILTER (WHERE parked_reason IS NOT NULL) AS parked,
       coalesce(extract(epoch FROM now() - min(owed_at) FILTER (WHERE parked_reason IS NULL)), 0)::float8 AS oldest
  FROM outbox
"""


async def append(db: Connection, due: Sequence[Outgoing]) -> Kept:
    """Keep rows in the transaction that makes them true. One statement, whatever their number."""
    if due:
        await db.execute(APPEND, *_columns(due))
    return Kept(tuple(due))


def owed(made: str, by: str, after: int) -> str:
    """Return a part of a WITH that keeps what new rows owe, for one statement instead of two.

    `made` names the part that inserts the rows and returns their `by`, a uuid. Its parameters are those of
    `owed_columns`, behind the `after` of the statement's own.
    """
    return _OWED.format(*range(after + 1, after + 7), made=made, by=by, lease=leases.OUTBOX)


def owed_columns(due: Mapping[UUID, Outgoing]) -> tuple[list[object], ...]:
    """Return the parameters of `owed`: what is due, by the row that owes it."""
    return (list(due), *_columns(list(due.values())))


def kept(due: Mapping[UUID, Outgoing], made: Collection[UUID]) -> Kept:
    """Return what a statement with `owed` has kept, by the ids of the rows that it made."""
    return Kept(tuple(row for row_id, row in due.items() if row_id in made))


def together(*parts: Kept) -> Kept:
    """Return all that several statements of one transaction have kept."""
    return Kept(tuple(chain.from_iterable(parts)))


def _columns(due: Sequence[Outgoing]) -> tuple[list[object], ...]:
    return (
        [row.event_id for row in due],
        [row.topic for row in due],
        [row.key for row in due],
        [row.value for row in due],
        [headers_to_text(row.headers) for row in due],
    )


async def take(db: Connection, limit: int) -> list[Outgoing]:
    """Lease rows whose lease ran out; they are ours until it runs out again."""
    return [
        Outgoing(row["event_id"], row["topic"], row["key"], row["value"], headers_from_text(row["headers"]))
        for row in await db.fetch(TAKE, limit)
    ]


async def forget(db: Connection, event_ids: Sequence[UUID]) -> None:
    """Delete what the brokers hold."""
    await db.execute(FORGET, event_ids)


async def park(db: Connection, event_id: UUID, reason: str) -> None:
    """Keep a row that no retry will publish until somebody looks at it."""
    await db.execute(PARK, event_id, reason)


async def pending(db: Connection) -> tuple[int, int, float]:
    """Return how many rows wait, how many are parked, and the age in seconds of the oldest that waits."""
    row = await db.fetchrow(PENDING)
    return (row["waiting"], row["parked"], row["oldest"]) if row else (0, 0, 0.0)
