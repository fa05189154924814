"""Records that a transaction has to publish: inserted with the state, published after the commit, then deleted."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NewType, Protocol

from countersign.runtime.database import leases
from countersign.runtime.messages.record import Outgoing, headers_from_text, headers_to_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection, Link

# Outbox rows already inserted in this transaction. Only this module constructs the type.
Kept = NewType("Kept", tuple[Outgoing, ...])
NOTHING = Kept(())

# A topic and one of its partitions, or None: all of them.
TopicOrPartition = tuple[str, int | None]

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

# Left by a dead process, or given back while the brokers took no records. Committed before anything is sent. $2: topics
# whose rows have to wait; $3, $4: partitions whose rows have to. Where a row belongs is known once it was given back.
TAKE = f"""
UPDATE outbox SET leased_until = now() + {leases.OUTBOX}
 WHERE event_id IN (
       SELECT event_id FROM outbox
        WHERE parked_reason IS NULL AND leased_until < now() AND topic <> ALL ($2::text[])
          AND (topic, coalesce(partition, -1)) NOT IN (SELECT * FROM unnest($3::text[], $4::integer[]))
        ORDER BY leased_until LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING event_id, topic, key, value, headers
"""  # noqa: S608 - a constant of the runtime

# A row that somebody else holds locked is being deleted, parked or discarded. In one order, so that two who write the
# same rows cannot deadlock.
_MINE = """
       SELECT event_id FROM outbox
        WHERE event_id = ANY ($1::uuid[]) AND parked_reason IS NULL
        ORDER BY event_id FOR UPDATE SKIP LOCKED
"""

EXTEND = f"""
UPDATE outbox SET leased_until = now() + {leases.OUTBOX} WHERE event_id IN ({_MINE}) RETURNING event_id
"""  # noqa: S608 - a constant of the runtime

GIVE_BACK = f"""
WITH mine AS MATERIALIZED ({_MINE})
UPDATE outbox o SET leased_until = now(), partition = coalesce(g.partition, o.partition)
  FROM mine JOIN unnest($1::uuid[], $2::integer[]) AS g (event_id, partition) USING (event_id)
 WHERE o.event_id = mine.event_id
"""  # noqa: S608 - a constant of the runtime

# A row of which somebody else writes something is waited for. In the same order, which a DELETE alone does not have.
FORGET = """
DELETE FROM outbox WHERE event_id = ANY (ARRAY (
       SELECT event_id FROM outbox WHERE event_id = ANY ($1::uuid[]) ORDER BY event_id FOR UPDATE))
"""

# The broker refused it for good: somebody has to look. It is counted by PENDING and raises an alarm.
PARK = "UPDATE outbox SET parked_reason = $2 WHERE event_id = $1"

PENDING = """
SELECT count(*) FILTER (WHERE parked_reason IS NULL) AS waiting,
       count(*) FILTER (WHERE parked_reason IS NOT NULL AND discarded_at IS NULL) AS parked,
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


async def take(db: Connection, limit: int, without: Collection[TopicOrPartition] = ()) -> list[Outgoing]:
    """Lease rows whose lease ran out; they are ours until it runs out again.

    Rows of what is in `without` stay, as far as it is known that they belong there.
    """
    topics = [topic for topic, partition in without if partition is None]
    partitions = [(topic, partition) for topic, partition in without if partition is not None]
    columns = [topic for topic, _ in partitions], [partition for _, partition in partitions]
    return [
        Outgoing(row["event_id"], row["topic"], row["key"], row["value"], headers_from_text(row["headers"]))
        for row in await db.fetch(TAKE, limit, topics, *columns)
    ]


async def pending(db: Connection) -> tuple[int, int, float]:
    """Return how many rows wait, how many are parked, and the age in seconds of the oldest that waits."""
    row = await db.fetchrow(PENDING)
    return (row["waiting"], row["parked"], row["oldest"]) if row else (0, 0, 0.0)


class OutboxRows(Protocol):
    """What the publisher does with rows that it owns. A simulator brings another one."""

    async def forget(self, event_ids: Sequence[UUID]) -> None:
        """Delete what the brokers hold."""
        ...

    async def extend(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Lease rows for the whole length again; return those that are there and not parked."""
        ...

    async def give_back(self, event_ids: Sequence[UUID], partitions: Sequence[int | None]) -> None:
        """End the leases of rows, so that any sweeper may take them, and note where each belongs; None: not known."""
        ...

    async def park(self, event_id: UUID, reason: str) -> None:
        """Keep a row that no retry will publish until somebody looks at it."""
        ...


class LinkedRows:
    """The outbox at the other end of a connection. Everything raises what the connection does."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def forget(self, event_ids: Sequence[UUID]) -> None:
        """Delete rows."""
        async with self._link.use() as db:
            await db.execute(FORGET, event_ids)

    async def extend(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Lease rows anew and return which."""
        async with self._link.use() as db:
            return {row["event_id"] for row in await db.fetch(EXTEND, event_ids)}

    async def give_back(self, event_ids: Sequence[UUID], partitions: Sequence[int | None]) -> None:
        """End leases and note partitions."""
        async with self._link.use() as db:
            await db.execute(GIVE_BACK, event_ids, partitions)

    async def park(self, event_id: UUID, reason: str) -> None:
        """Park a row."""
        async with self._link.use() as db:
            await db.execute(PARK, event_id, reason)
