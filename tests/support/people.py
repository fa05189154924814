"""People with accounts, phones and contact lists, put straight into the tables that own them."""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from countersign.contract.number import NONCE_BYTES, PhoneNumber, fingerprint_of, seal_number

if TYPE_CHECKING:
    import asyncpg

    from tests.support.servers import Servers

# Longer than any number of that country, so that it is nobody's and yet everybody's is another.
_NUMBERS = count(100_000)
CONTACTS = 5

ADD_MEMBER = """
WITH a AS (INSERT INTO enrolment.account (account_id, two_factor) VALUES ($1, true))
INSERT INTO enrolment.member (user_id, account_id, version, role, name) VALUES ($2, $1, 1, 'owner', 'Ada')
"""
ADD_NUMBER = """
INSERT INTO enrolment.phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at,
                                    confirmed_at)
VALUES ($1, $2, $3, '+46 ••••••••05', 'SE', $4, $5, $6, now() - interval '1 day',
        CASE WHEN $3 = 'confirmed' THEN now() END)
"""
ADD_LIST = """
WITH l AS (INSERT INTO exports.contact_list (list_id, account_id, name) VALUES ($1, $2, 'Newsletter'))
INSERT INTO exports.contact (contact_id, list_id, email, name)
SELECT gen_random_uuid(), $1, 'c' || n || '@example.net', 'Contact ' || n FROM generate_series(1, $3) AS n
"""


@dataclass(frozen=True, slots=True)
class Person:
    """The owner of an account with two-factor on, and what is theirs."""

    account_id: UUID
    user_id: UUID
    number_id: UUID
    list_id: UUID
    computer: str
    number: str = field(repr=False)


async def a_person(db: asyncpg.Pool[asyncpg.Record], servers: Servers, *, confirmed: bool) -> Person:
    """Put in somebody new, whose number is confirmed or only given."""
    nth = next(_NUMBERS)
    person = Person(uuid4(), uuid4(), uuid4(), uuid4(), address(nth), f"+46701740{nth}")
    held: dict[str, Any] = servers.secrets["enrolment"]
    key = held["number_keys"][0]
    number = PhoneNumber(person.number, "SE")
    closed = seal_number(base64.b64decode(key["secret"]), secrets.token_bytes(NONCE_BYTES), number, person.user_id)
    counted_by = fingerprint_of(base64.b64decode(held["fingerprint_key"]), number)
    async with db.acquire() as connection, connection.transaction():
        await connection.execute(ADD_MEMBER, person.account_id, person.user_id)
        state = "confirmed" if confirmed else "provided"
        await connection.execute(ADD_NUMBER, person.number_id, person.user_id, state, closed, key["key_id"], counted_by)
        await connection.execute(ADD_LIST, person.list_id, person.account_id, CONTACTS)
    return person


def address(nth: int) -> str:
    """Return an address that nobody else has; the local policy takes private ones for places."""
    digest = hmac.digest(b"address", str(nth).encode(), "sha256")
    return f"10.{digest[0]}.{digest[1]}.{digest[2] or 1}"
