"""The statements on exports, and nothing that decides."""

# ruff: noqa: S608 - what is put into statements are constants of this module

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from countersign.runtime.database import leases
from services.exports.contacts import contact_of
from services.exports.model import Denied, Export, Granted, Late, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.runtime.database.postgres import Connection
    from services.exports.model import Contact, Format

_COLUMNS = """export_id, account_id, user_id, list_id, list_name, format, rows, contacts, session, asked_at, state,
              reason, retry_at, expires_at, req"""

# Ids and content as of one snapshot, with their digest, in the statement that makes the export: nothing is between.
ASK = f"""
WITH frozen AS (
    INSERT INTO frozen_contact (export_id, position, contact_id, email, name, attributes)
    SELECT $1::uuid, row_number() OVER (ORDER BY name, contact_id), contact_id, email, name, attributes
      FROM contact WHERE list_id = $4::uuid
     ORDER BY name, contact_id LIMIT $8
    RETURNING position, contact_id)
INSERT INTO export (export_id, account_id, user_id, list_id, list_name, format, asked, session, rows, contacts,
                    asked_at, state, expires_at)
SELECT $1::uuid, $2::uuid, $3::uuid, $4::uuid, $5::text, $6::text, $7::bytea, $10::bytea, count(*),
       sha256(coalesce(string_agg(uuid_send(contact_id), ''::bytea ORDER BY position), ''::bytea)),
       now(), 'waiting', now() + $9::interval
  FROM frozen
RETURNING {_COLUMNS}
"""

KEEP_REQ = "UPDATE export SET req = $2 WHERE export_id = $1"
ASKED_BEFORE = "SELECT asked FROM export WHERE export_id = $1"
SPENT_BEFORE = "SELECT EXISTS (SELECT FROM spent_grant WHERE request_id = $1)"
WAITING_OF_USER = "SELECT count(*) FROM export WHERE user_id = $1 AND state = 'waiting' AND expires_at > now()"

ONE = f"SELECT {_COLUMNS}, now() AS now FROM export WHERE export_id = $1 AND account_id = $2 AND user_id = $3"

# Neither reads the whole file: it is stored as it is (EXTERNAL), so PostgreSQL fetches the part alone.
FILE_BYTES = """
SELECT octet_length(f.content) FROM file f JOIN export e USING (export_id)
 WHERE e.export_id = $1 AND e.account_id = $2 AND e.user_id = $3 AND e.state = 'ready' AND e.expires_at > now()
"""

PIECE = "SELECT substring(content FROM $2 FOR $3) FROM file WHERE export_id = $1"

# Locked in one order, so that two owners of a partition in transition cannot deadlock; `decide` sees what will stand.
NAMED = f"SELECT {_COLUMNS} FROM export WHERE export_id = ANY($1::uuid[]) ORDER BY export_id FOR UPDATE"

SPEND = """
INSERT INTO spent_grant (request_id, account_id, user_id)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS g (request_id, account_id, user_id)
 ORDER BY request_id
    ON CONFLICT DO NOTHING RETURNING request_id
"""

GRANT = """
UPDATE export SET state = 'granted', expires_at = now() + $2::interval
 WHERE export_id = ANY($1::uuid[]) AND state = 'waiting'
"""

END = """
UPDATE export e SET state = o.state, reason = o.reason, retry_at = o.retry_at, expires_at = NULL
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS o (export_id, state, reason, retry_at)
 WHERE e.export_id = o.export_id AND e.state = 'waiting'
"""

THAW = "DELETE FROM frozen_contact WHERE export_id = ANY($1::uuid[])"

# To be written, and nobody else is at it.
TAKE_GRANTED = f"""
UPDATE export SET leased_until = now() + {leases.DUE}
 WHERE export_id IN (
       SELECT export_id FROM export
        WHERE state = 'granted' AND leased_until < now() AND expires_at > now()
        ORDER BY leased_until LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""

FROZEN = """
SELECT contact_id, email, name, attributes FROM frozen_contact WHERE export_id = $1 ORDER BY position
"""

# The rows of a batch are locked in one order, whoever locks them.
READY = """
UPDATE export SET state = 'ready', expires_at = now() + $2::interval
 WHERE export_id IN (
       SELECT export_id FROM export
        WHERE export_id = ANY($1::uuid[]) AND state = 'granted' AND expires_at > now()
        ORDER BY export_id FOR UPDATE)
RETURNING export_id
"""

KEEP_FILE = """
INSERT INTO file (export_id, content)
SELECT * FROM unnest($1::uuid[], $2::bytea[]) AS f (export_id, content) ORDER BY 1
    ON CONFLICT DO NOTHING
"""

TAKE_OVER = f"""
UPDATE export SET leased_until = now() + {leases.DUE}
 WHERE export_id IN (
       SELECT export_id FROM export
        WHERE expires_at <= now() AND leased_until < now()
        ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING {_COLUMNS}
"""

# Guarded again: between the look and this, a decision or a file may have come.
EXPIRE = """
UPDATE export e SET state = 'expired', reason = o.reason, expires_at = NULL
  FROM (SELECT u.export_id, u.reason
          FROM unnest($1::uuid[], $2::text[]) AS u (export_id, reason) JOIN export x USING (export_id)
         WHERE x.expires_at <= now()
         ORDER BY export_id FOR UPDATE OF x) AS o
 WHERE e.export_id = o.export_id
RETURNING e.export_id
"""

DROP_FILES = "DELETE FROM file WHERE export_id = ANY($1::uuid[])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """An export that is asked for. `asked` is the SHA-256 of the body, `session` that of the session's secret."""

    export_id: UUID
    account_id: UUID
    user_id: UUID
    list_id: UUID
    format: Format
    asked: bytes
    session: bytes = field(repr=False)


async def asked_before(db: Connection, export_id: UUID) -> bytes | None:
    """Return the SHA-256 of the body that asked for this id; of one that was forgotten, nothing that any body has."""
    asked: bytes | None = await db.fetchval(ASKED_BEFORE, export_id)
    if asked is None and await db.fetchval(SPENT_BEFORE, export_id):
        return b""
    return asked


async def waiting_of(db: Connection, user_id: UUID) -> int:
    """Return how many exports of the user wait for a decision."""
    return int(await db.fetchval(WAITING_OF_USER, user_id))


async def ask(db: Connection, asking: Asking, list_name: str, rows_max: int, wait: timedelta) -> Export:
    """Freeze the list's contacts and keep the export that waits; `rows` beyond `rows_max` says that there are more.

    Raises asyncpg's UniqueViolationError if the id came into use meanwhile.
    """
    row = await db.fetchrow(
        ASK,
        asking.export_id,
        asking.account_id,
        asking.user_id,
        asking.list_id,
        list_name,
        asking.format,
        asking.asked,
        rows_max + 1,
        wait,
        asking.session,
    )
    assert row is not None
    return _export(row)


async def keep_req(db: Connection, export_id: UUID, req: str) -> None:
    """Store the hash of the request that asks for the export: its grant must carry the same."""
    await db.execute(KEEP_REQ, export_id, req)


async def one(db: Connection, export_id: UUID, account_id: UUID, user_id: UUID) -> tuple[Export, datetime] | None:
    """Return an export of that account and user, and the database's now."""
    row = await db.fetchrow(ONE, export_id, account_id, user_id)
    return (_export(row), row["now"]) if row is not None else None


async def file_bytes(db: Connection, export_id: UUID, account_id: UUID, user_id: UUID) -> int | None:
    """Return the size of the file while it is offered."""
    found: int | None = await db.fetchval(FILE_BYTES, export_id, account_id, user_id)
    return found


async def piece(db: Connection, export_id: UUID, start: int, length: int) -> bytes:
    """Return a part of a file; empty once the file is gone."""
    return await db.fetchval(PIECE, export_id, start + 1, length) or b""


async def named(db: Connection, export_ids: Iterable[UUID]) -> dict[UUID, Export]:
    """Return the exports among these ids, locked."""
    return {row["export_id"]: _export(row) for row in await db.fetch(NAMED, list(export_ids))}


async def save(db: Connection, outcomes: Sequence[Outcome], written_within: timedelta) -> None:
    """Spend grants and end what was denied; a grant spent before grants nothing."""
    granted = [outcome.export for outcome in outcomes if isinstance(outcome, Granted)]
    if granted:
        spent = await db.fetch(
            SPEND,
            [export.export_id for export in granted],
            [export.account_id for export in granted],
            [export.user_id for export in granted],
        )
        await db.execute(GRANT, [row["request_id"] for row in spent], written_within)
    ended = [_end(outcome) for outcome in outcomes if not isinstance(outcome, Granted)]
    if ended:
        await db.execute(END, *(list(column) for column in zip(*ended, strict=True)))
        await db.execute(THAW, [export_id for export_id, *_ in ended])


def _end(outcome: Denied | Late) -> tuple[UUID, str, str, datetime | None]:
    match outcome:
        case Denied(export, reason, retry_at):
            return export.export_id, "denied", reason, retry_at
        case Late(export):
            return export.export_id, "expired", "grant.late", None


async def take_granted(db: Connection, limit: int) -> list[Export]:
    """Lease exports that are to be written."""
    return [_export(row) for row in await db.fetch(TAKE_GRANTED, limit)]


async def frozen(db: Connection, export_id: UUID) -> list[Contact]:
    """Return the frozen contacts in the order of the file."""
    return [contact_of(row) for row in await db.fetch(FROZEN, export_id)]


async def keep_files(db: Connection, files: Mapping[UUID, bytes], offered: timedelta) -> int:
    """Offer files and return how many; one whose export has ended, or has its file already, is let go."""
    ready = [row["export_id"] for row in await db.fetch(READY, sorted(files), offered)]
    await db.execute(KEEP_FILE, ready, [files[export_id] for export_id in ready])
    await db.execute(THAW, ready)
    return len(ready)


async def take_over(db: Connection, limit: int) -> list[Export]:
    """Lease exports whose time is over."""
    return [_export(row) for row in await db.fetch(TAKE_OVER, limit)]


async def expire(db: Connection, reasons: Mapping[UUID, str]) -> int:
    """End exports, with the reason of each, forget their contacts and files, and return how many."""
    ended = [row["export_id"] for row in await db.fetch(EXPIRE, list(reasons), list(reasons.values()))]
    await db.execute(THAW, ended)
    await db.execute(DROP_FILES, ended)
    return len(ended)


def _export(row: Mapping[str, Any]) -> Export:
    return Export(**{name: row[name] for name in _FIELDS})


_FIELDS = tuple(name.strip() for name in _COLUMNS.split(","))
