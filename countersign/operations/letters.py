"""Dead letters of every service: found, grouped, shown, folded again, discarded; and brakes, released."""

# ruff: noqa: S608 - schemas are names of our own services, everything else is a parameter

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

from countersign.contract.topic_files import Service
from countersign.operations import journal
from countersign.runtime.messages.record import headers_from_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import asyncpg

    from countersign.runtime.messages.record import Headers

TRIES_MAX = 3  # chosen: what fails three times fails for a reason that nobody has mended
SERVICES: tuple[str, ...] = get_args(Service)
_BATCH_MAX = 500

# headers are JSON text that may hold bytes that jsonb does not take, so the source is cut out of the text.
# A letter without its content has no headers, and those of older versions have no column for it.
_SOURCE = r"""coalesce(substring(headers from '\["ce_source","([^"\\]*)"'), nullif(source, ''))"""
_CHOSEN = f"""
       ($1::text IS NULL OR topic = $1) AND ($2::int IS NULL OR partition = $2)
   AND ($3::bigint IS NULL OR "offset" = $3) AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
   AND ($6::text IS NULL OR starts_with(cause, $6)) AND ($7::text IS NULL OR {_SOURCE} = $7)
"""
LIST = f"""
SELECT topic, partition, "offset", kind, cause, state, tries, kept_at, changed_at, appended_at, whole,
       {_SOURCE} AS source
  FROM {{schema}}.dead_letter WHERE {_CHOSEN} ORDER BY kept_at DESC, topic, partition, "offset" LIMIT $8
"""
GROUP = f"""
SELECT topic, kind, state, cause, {_SOURCE} AS source, count(*) AS letters, min(kept_at) AS first, max(kept_at) AS last
  FROM {{schema}}.dead_letter WHERE {_CHOSEN} GROUP BY 1, 2, 3, 4, 5 ORDER BY letters DESC, last DESC LIMIT $8
"""
SHOW = """
SELECT topic, partition, "offset", kind, cause, state, tries, kept_at, changed_at, appended_at, whole, record_key,
       value, value_bytes, encode(value_sha256, 'hex') AS sha256, headers, nullif(source, '') AS source
  FROM {schema}.dead_letter WHERE topic = $1 AND partition = $2 AND "offset" = $3
 ORDER BY kept_at DESC
"""
COUNT = f"""
SELECT count(*) FILTER (WHERE tries < $8 AND (whole OR $9 <> 'redrive')) AS ready,
       count(*) FILTER (WHERE tries >= $8) AS parked,
       count(*) FILTER (WHERE NOT whole) AS without_content
  FROM {{schema}}.dead_letter WHERE {_CHOSEN}
"""
CHANGE = f"""
UPDATE {{schema}}.dead_letter d
   SET state = $9, tries = d.tries + $10, changed_at = now(), next_try_at = now()
  FROM (SELECT topic, partition, "offset", appended_at FROM {{schema}}.dead_letter
         WHERE {_CHOSEN} AND tries < $8 AND (whole OR $9 <> 'redrive')
         ORDER BY kept_at, topic, partition, "offset" LIMIT $11 FOR UPDATE SKIP LOCKED) c
 WHERE d.topic = c.topic AND d.partition = c.partition AND d."offset" = c."offset" AND d.appended_at = c.appended_at
RETURNING 1
"""
# In one order, so that two people who choose the same letters in two ways cannot deadlock.
UNPARK = f"""
UPDATE {{schema}}.dead_letter d SET tries = 0, changed_at = now()
  FROM (SELECT topic, partition, "offset", appended_at FROM {{schema}}.dead_letter
         WHERE {_CHOSEN} AND tries >= $8
         ORDER BY topic, partition, "offset", appended_at FOR UPDATE) c
 WHERE d.topic = c.topic AND d.partition = c.partition AND d."offset" = c."offset" AND d.appended_at = c.appended_at
RETURNING 1
"""
HELD = "SELECT topic, partition, reason, since FROM {schema}.brake WHERE released_at IS NULL ORDER BY topic, partition"
RELEASE = """
UPDATE {schema}.brake SET released_at = now()
 WHERE released_at IS NULL AND topic = $1 AND ($2::int IS NULL OR partition = $2) RETURNING partition
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which letters: every field that is not None must fit. `cause` is how the cause begins."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    kind: str | None = None
    state: str | None = None
    cause: str | None = None
    source: str | None = None

    def columns(self) -> tuple[Any, ...]:
        """Return the parameters that every statement here begins with."""
        return (self.topic, self.partition, self.offset, self.kind, self.state, self.cause, self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter without its content."""

    service: str
    topic: str
    partition: int
    offset: int
    kind: str
    cause: str
    state: str
    tries: int
    kept_at: datetime
    changed_at: datetime
    appended_at: datetime
    whole: bool = True
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A dead letter with what it holds. `value` may be cut; `value_bytes` is how long it was."""

    letter: Letter
    sha256: str
    value_bytes: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Headers = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Letters of one service, topic, state, cause and source."""

    service: str
    topic: str
    kind: str
    state: str
    cause: str
    source: str | None
    letters: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """A partition that waits for somebody to look."""

    service: str
    topic: str
    partition: int
    reason: str
    since: datetime


class Letters:
    """The dead letters of some services, on one connection of the role `operator` or of an administrator."""

    def __init__(self, db: asyncpg.Connection, services: Sequence[str] = SERVICES) -> None:
        if unknown := set(services) - set(SERVICES):
            raise ValueError(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}")
        self._db = db
        self._services = services

    async def newest(self, choice: Choice, most: int) -> list[Letter]:
        """Return the newest letters, without their content."""
        found = []
        for service in self._services:
            rows = await self._db.fetch(LIST.format(schema=service), *choice.columns(), most)
            found += [Letter(service=service, **dict(row)) for row in rows]
        return sorted(found, key=lambda letter: letter.kept_at, reverse=True)[:most]

    async def causes(self, choice: Choice, most: int) -> list[Cause]:
        """Return letters by cause and source, the most frequent first."""
        found = []
        for service in self._services:
            rows = await self._db.fetch(GROUP.format(schema=service), *choice.columns(), most)
            found += [Cause(service=service, **dict(row)) for row in rows]
        return sorted(found, key=lambda cause: cause.letters, reverse=True)[:most]

    async def content(self, topic: str, partition: int, offset: int) -> list[Content]:
        """Return the letters of each service that refused the record; of a topic made anew there may be several."""
        found = []
        for service in self._services:
            rows = await self._db.fetch(SHOW.format(schema=service), topic, partition, offset)
            found += [_content(service, row) for row in rows]
        return found

    async def held(self) -> list[Brake]:
        """Return the partitions that are held."""
        found = []
        for service in self._services:
            rows = await self._db.fetch(HELD.format(schema=service))
            found += [Brake(service=service, **dict(row)) for row in rows]
        return found


@dataclass(frozen=True, slots=True)
class Count:
    """Letters that somebody chose: those to be changed, parked after `TRIES_MAX` tries, and kept without content."""

    ready: int
    parked: int
    without_content: int


class Desk:
    """Changes letters and brakes of one service; each change is kept with who did it and why."""

    def __init__(self, db: asyncpg.Connection, service: str, by: str, reason: str) -> None:
        self._db = db
        self._service = service
        self._by = by
        self._reason = reason

    async def count(self, choice: Choice, state: str) -> Count:
        """Return how many letters would be changed to this state, and how many not, and why."""
        row = await self._db.fetchrow(COUNT.format(schema=self._service), *_new(choice).columns(), TRIES_MAX, state)
        return Count(**dict(row))

    async def redrive(self, choice: Choice, rate: float) -> int:
        """Let the service fold letters again, at most `rate` a second; return how many. Each costs a try."""
        return await self._change("dlq redrive", choice, "redrive", tries=1, rate=rate)

    async def discard(self, choice: Choice) -> int:
        """Settle letters as discarded; return how many. Their rows stay."""
        return await self._change("dlq discard", choice, "discarded", tries=0, rate=None)

    async def unpark(self, choice: Choice) -> int:
        """Give parked letters their tries back; return how many."""
        operation_id = await self._begin("dlq unpark", choice)
        async with self._db.transaction():
            rows = await self._db.fetch(UNPARK.format(schema=self._service), *_new(choice).columns(), TRIES_MAX)
            await journal.end(self._db, self._service, operation_id, {"letters": len(rows)})
        return len(rows)

    async def release(self, topic: str, partition: int | None) -> list[int]:
        """Release the brake of a partition, or of all of a topic; return which. The service reads on within seconds."""
        planned = {"topic": topic, "partition": partition}
        operation_id = await journal.begin(self._db, self._service, "dlq release", self._by, self._reason, planned)
        async with self._db.transaction():
            rows = await self._db.fetch(RELEASE.format(schema=self._service), topic, partition)
            released = [row["partition"] for row in rows]
            await journal.end(self._db, self._service, operation_id, {"partitions": released})
        return released

    async def _begin(self, command: str, choice: Choice) -> Any:
        planned = {name: value for name, value in asdict(choice).items() if value is not None}
        return await journal.begin(self._db, self._service, command, self._by, self._reason, planned)

    async def _change(self, command: str, choice: Choice, state: str, *, tries: int, rate: float | None) -> int:
        operation_id = await self._begin(command, choice)
        batch = _BATCH_MAX if rate is None else max(1, min(_BATCH_MAX, int(rate)))
        ready = (await self.count(choice, state)).ready  # letters that come meanwhile are another operation's
        done = 0
        while done < ready:
            most = min(batch, ready - done)
            statement = CHANGE.format(schema=self._service)
            rows = await self._db.fetch(statement, *_new(choice).columns(), TRIES_MAX, state, tries, most)
            done += len(rows)
            if len(rows) < most:
                break
            if rate is not None and done < ready:
                await asyncio.sleep(len(rows) / rate)
        async with self._db.transaction():
            await journal.end(self._db, self._service, operation_id, {"letters": done})
        return done


def _new(choice: Choice) -> Choice:
    """Only letters that nobody has settled are changed."""
    return replace(choice, state="new")


def _content(service: str, row: asyncpg.Record) -> Content:
    fields = dict(row)
    headers = headers_from_text(fields.pop("headers"))
    key, value = fields.pop("record_key"), fields.pop("value")
    value_bytes, sha256 = fields.pop("value_bytes"), fields.pop("sha256")
    kept = fields.pop("source")
    source = next((text.decode("utf-8", "replace") for name, text in headers if name == "ce_source"), kept)
    letter = Letter(service=service, source=source, **fields)
    return Content(letter=letter, sha256=sha256, value_bytes=value_bytes, key=key, value=value, headers=headers)
