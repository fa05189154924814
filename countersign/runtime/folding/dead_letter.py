"""Records that no retry will make readable, kept as rows with the batch that met them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

from countersign.runtime.folding.whole_letters import source_of, whole_of
from countersign.runtime.messages.cloudevents import VALUE_BYTES_MAX
from countersign.runtime.messages.record import Record, headers_from_text, headers_to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog
    from asyncpg import Record as Row

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.errors import OffContractError
    from countersign.runtime.messages.record import Headers
    from countersign.runtime.watching.metrics import Metrics

Kind = Literal["off_contract", "conflict", "key_unknown", "bug"]
State = Literal["new", "redrive", "done", "discarded", "too_old"]

# An unknown key is waited for 60 s (decision 6): keys are installed everywhere before they are used, so a
# longer wait would only hide a forgery.
KEY_WAIT = timedelta(seconds=60)
RETRY_EVERY = timedelta(seconds=2)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

KEEP = """
INSERT INTO dead_letter (topic, partition, "offset", record_key, value, value_bytes, value_sha256, headers, appended_at,
                         kind, cause, request_id, whole, source, state, next_try_at)
SELECT t, p, o, k, v, n, h, hs, a, kind, cause, request_id, whole, source,
       CASE WHEN kind = 'key_unknown' AND whole THEN 'redrive' ELSE 'new' END, now() + $15::interval
  FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[], $6::int[], $7::bytea[], $8::text[],
              $9::timestamptz[], $10::text[], $11::text[], $12::uuid[], $13::bool[], $14::text[])
    AS d (t, p, o, k, v, n, h, hs, a, kind, cause, request_id, whole, source)
 ORDER BY t, p, o, a
    ON CONFLICT DO NOTHING
"""

# A letter without its content is not folded again: what is left of it is not what was sent.
TAKE = """
UPDATE dead_letter SET next_try_at = now() + $2::interval
 WHERE (topic, partition, "offset", appended_at) IN (
       SELECT topic, partition, "offset", appended_at FROM dead_letter
        WHERE state = 'redrive' AND whole AND next_try_at <= now() AND topic = ANY($3::text[])
        ORDER BY next_try_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING topic, partition, "offset", record_key, value, headers, appended_at, kind, now() - kept_at AS waited
"""

# One letter, last in the transaction of its fold: there is no order in which two of these could wait for each other.
SETTLE = """
UPDATE dead_letter SET state = $5, kind = $6, cause = coalesce($7, cause), changed_at = now()
 WHERE topic = $1 AND partition = $2 AND "offset" = $3 AND appended_at = $4
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record and why it was not folded. `cause` names the field and quotes no value; `alarm` is a log event.

    Without `has_content` the record holds its place alone, and cannot be folded again.
    """

    record: Record
    kind: Kind
    cause: str
    alarm: str | None = None
    has_content: bool = True

    @classmethod
    def of(cls, record: Record, finding: OffContractError) -> DeadLetter:
        """Return the letter of a record that `finding` is about."""
        return cls(record, finding.kind, finding.cause, finding.alarm)

    def without_content(self) -> DeadLetter:
        """Return a letter that says where the record lies and nothing of what is in it."""
        record = replace(self.record, key=None, value=None, headers=())
        cause = "a bug of ours: the letter could not be stored with its content"
        return replace(self, record=record, cause=cause, has_content=False)

    @property
    def request_id(self) -> UUID | None:
        """Return the request id that the value names, as far as it can be read."""
        return _request_id_in(self.record.value or b"")


class LetterReports:
    """Counts and logs the dead letters of a process, by topic, kind and who wrote the record."""

    def __init__(self, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> None:
        self._metrics = metrics
        self._log = log

    def report(self, letter: DeadLetter) -> None:
        """Report one that was kept; its alarm, if it has one, is a line of its own."""
        record = letter.record
        source = self._metrics.sources.name(record.header("ce_source"))
        self._metrics.dead_letters.labels(record.topic, letter.kind, source).inc()
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        request_id = letter.request_id
        story = {"request_id": str(request_id)} if request_id is not None else {}
        self._log.warning("dead_letter", **place, kind=letter.kind, cause=letter.cause, source=source, **story)
        if letter.alarm is not None:
            self._log.error(letter.alarm, **place, **story)


@dataclass(frozen=True, slots=True)
class Redrive:
    """A dead letter that is to be folded again."""

    record: Record
    kind: Kind
    waited: timedelta


async def keep(db: Connection, letters: Sequence[DeadLetter]) -> None:
    """Keep letters in the transaction of their batch; one that is there already stays as it is."""
    if not letters:
        return
    whole = await whole_of(db, letters)
    records = [letter.record for letter in letters]
    values = [record.value or b"" for record in records]
    contents = [
        _content(record) if is_whole else _key_of(record) for record, is_whole in zip(records, whole, strict=True)
    ]
    sources = [source_of(letter) for letter in letters]
    await db.execute(
        KEEP,
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
        [key for key, _, _ in contents],
        [value for _, value, _ in contents],
        [len(value) for value in values],
        [hashlib.sha256(value).digest() for value in values],
        [headers for _, _, headers in contents],
        [record.appended_at for record in records],
        [letter.kind for letter in letters],
        [letter.cause for letter in letters],
        [letter.request_id for letter in letters],
        whole,
        sources,
        RETRY_EVERY,
    )


# Ours are ids of 36 characters. A letter without its content is still found by its key.
_KEY_BYTES_MAX = 100


def _key_of(record: Record) -> tuple[bytes | None, None, str]:
    return None if record.key is None else record.key[:_KEY_BYTES_MAX], None, headers_to_text(())


def _content(record: Record) -> tuple[bytes | None, bytes | None, str]:
    key = None if record.key is None else record.key[:VALUE_BYTES_MAX]
    return key, (record.value or b"")[:VALUE_BYTES_MAX], headers_to_text(_within(record.headers))


def _request_id_in(value: bytes) -> UUID | None:
    """Return `request_id`, of the value or of the `data` of one in structured mode; None if there is none to read."""
    if len(value) > VALUE_BYTES_MAX:
        return None
    try:
        found: Any = json.loads(value)
    except (ValueError, RecursionError):
        return None
    for part in (found, found.get("data") if isinstance(found, dict) else None):
        named = part.get("request_id") if isinstance(part, dict) else None
        if isinstance(named, str) and _UUID.fullmatch(named):
            return UUID(named)
    return None


def _within(headers: Headers) -> Headers:
    """Return headers that are readable when the letter is folded again; cut ones are a byte too long to be folded."""
    room, kept = VALUE_BYTES_MAX + 1, []
    for name, value in headers:
        kept.append((name[:room], value[: max(0, room - len(name))]))
        room -= len(name) + len(value)
        if room <= 0:
            break
    return tuple(kept)


async def take(db: Connection, limit: int, topics: Sequence[str]) -> list[Redrive]:
    """Take letters of these topics that are to be folded again."""
    rows = await db.fetch(TAKE, limit, RETRY_EVERY, topics)
    return [Redrive(record_of(row), row["kind"], row["waited"]) for row in rows]


def record_of(row: Row) -> Record:
    """Return the record that a letter keeps; one that was cut is a byte too long to be folded."""
    return Record(
        row["topic"],
        row["partition"],
        row["offset"],
        row["record_key"],
        row["value"],
        headers_from_text(row["headers"]),
        row["appended_at"],
    )


async def settle(db: Connection, redrive: Redrive, failed: Sequence[DeadLetter], *, too_old: bool = False) -> None:
    """Mark a letter as done if it was folded; else give it its new cause. A missing key is waited for a while.

    `too_old`: it was not folded because its natural key may be forgotten already, and so it ends.
    """
    record, kind, cause = redrive.record, redrive.kind, None
    state: State = "too_old" if too_old else "done"
    for letter in failed:
        waits = letter.kind == "key_unknown" and redrive.waited < KEY_WAIT
        state, kind, cause = "redrive" if waits else "new", letter.kind, letter.cause
    place = (record.topic, record.partition, record.offset, record.appended_at)
    await db.execute(SETTLE, *place, state, kind, cause)
