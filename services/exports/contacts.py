"""The statements on lists, contacts and pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from countersign.runtime.messages.cloudevents import Text
from services.exports.model import Contact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.runtime.database.postgres import Connection, Pool

LISTS = """
SELECT list_id, name, rows
  FROM contact_list
 WHERE account_id = $1
 ORDER BY name, list_id
 LIMIT 1000
"""

LIST_OF_ACCOUNT = "SELECT name FROM contact_list WHERE list_id = $1 AND account_id = $2"

# The membership of users is known elsewhere; what is known here is who was granted something under another account,
# and a user's account never changes.
KNOWN_ELSEWHERE = "SELECT EXISTS (SELECT FROM spent_grant WHERE user_id = $1 AND account_id <> $2)"

PAGE = """
SELECT contact_id, email, name, attributes
  FROM contact
 WHERE list_id = $1
   AND ($2::uuid IS NULL
        OR (name, contact_id) > (SELECT a.name, a.contact_id FROM contact a WHERE a.contact_id = $2 AND a.list_id = $1))
 ORDER BY name, contact_id
 LIMIT $3
"""

# One transaction a user at a time, so that parallel pages are counted as well as those one after the other.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('countersign.exports.' || $1, 0))"

# The clock after the lock, not the time before it.
PAGES_READ = """
SELECT count(*) AS pages, extract(epoch FROM min(read_at) + interval '1 hour' - clock_timestamp())::float8 AS free_in
  FROM page_read
 WHERE user_id = $1 AND read_at > clock_timestamp() - interval '1 hour'
"""

COUNT_PAGE = "INSERT INTO page_read (user_id, read_at) VALUES ($1, clock_timestamp())"

SEED_LIST = "INSERT INTO contact_list (list_id, account_id, name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"

SEED_CONTACTS = """
INSERT INTO contact (contact_id, list_id, email, name, attributes)
SELECT contact_id, $2, email, name, attributes::jsonb
  FROM unnest($1::uuid[], $3::text[], $4::text[], $5::text[]) AS c (contact_id, email, name, attributes)
 ORDER BY contact_id
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class ContactList:
    """A list as it is offered."""

    list_id: UUID
    name: str
    rows: int


async def lists_of(db: Connection, account_id: UUID) -> list[ContactList]:
    """Return an account's lists by name, at most 1,000."""
    return [ContactList(row["list_id"], row["name"], row["rows"]) for row in await db.fetch(LISTS, account_id)]


async def name_of_list(db: Connection, list_id: UUID, account_id: UUID, user_id: UUID) -> str | None:
    """Return the list's name; None if it is not the account's, or the user is known to be of another account."""
    if await db.fetchval(KNOWN_ELSEWHERE, user_id, account_id):
        return None
    name: str | None = await db.fetchval(LIST_OF_ACCOUNT, list_id, account_id)
    return name


async def count_page(db: Connection, user_id: UUID, hourly_max: int) -> float | None:
    """Count a page for the user and return None, or the seconds until the next one may be read."""
    await db.execute(ONE_AT_A_TIME, str(user_id))
    row = await db.fetchrow(PAGES_READ, user_id)
    if row is not None and row["pages"] >= hourly_max:
        return max(float(row["free_in"]), 1.0)
    await db.execute(COUNT_PAGE, user_id)
    return None


async def page(db: Connection, list_id: UUID, after: UUID | None, limit: int) -> list[Contact]:
    """Return contacts of a list by name, from the one after `after`."""
    return [contact_of(row) for row in await db.fetch(PAGE, list_id, after, limit)]


def contact_of(row: Mapping[str, Any]) -> Contact:
    """Read a row of `contact` or `frozen_contact`. An attribute that is no text counts as its JSON, null as empty."""
    attributes = {name: _text(value) for name, value in json.loads(row["attributes"]).items()}
    return Contact(row["contact_id"], row["email"], row["name"], attributes)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


class _SeededContact(BaseModel, extra="allow"):
    contact_id: UUID
    email: Text
    name: Text
    __pydantic_extra__: dict[str, Text]


class _SeededList(BaseModel):
    list_id: UUID
    name: Text
    contacts: list[_SeededContact]


class Seed(BaseModel):
    """The part of the demonstration that is ours. What else a contact holds is text, and kept as its attributes."""

    account_id: UUID
    lists: list[_SeededList]


async def seed(pool: Pool, _settings: object, given: Mapping[str, Any]) -> None:
    """Put the demonstration's lists in; what is there already stays as it is."""
    demonstration = Seed.model_validate(given)
    async with pool.acquire() as db, db.transaction():
        for contact_list in demonstration.lists:
            contacts: Sequence[_SeededContact] = contact_list.contacts
            await db.execute(SEED_LIST, contact_list.list_id, demonstration.account_id, contact_list.name)
            await db.execute(
                SEED_CONTACTS,
                [contact.contact_id for contact in contacts],
                contact_list.list_id,
                [contact.email for contact in contacts],
                [contact.name for contact in contacts],
                [json.dumps(contact.__pydantic_extra__) for contact in contacts],
            )
