"""`rekey`: seals every number anew that is not under the ring's current key, so that the old key can be removed.

A batch is one transaction that holds its rows' locks, in the order of their ids; a row that the service works on is
waited for. So it runs beside the service, and started again after an interruption it goes on with what is left.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from countersign.contract.number import NONCE_BYTES, SealBrokenError, open_number, seal_number
from countersign.runtime.errors import KeyUnknownError
from countersign.runtime.keys import KeyRing

if TYPE_CHECKING:
    import asyncpg

    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.keys import Key
    from services.enrolment.settings import EnrolmentSettings

BATCH = 500
_FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Kind:
    """Where sealed numbers lie: how those under another key are found, and how one is written back."""

    name: str
    take: str
    put: str
    left: str


NUMBERS = Kind(
    name="numbers",
    take="""
SELECT number_id AS id, user_id, sealed, key_id, country
  FROM phone_number
 WHERE sealed IS NOT NULL AND key_id <> $1 AND number_id > $2
 ORDER BY number_id LIMIT $3 FOR NO KEY UPDATE
""",
    put="""
UPDATE phone_number n SET sealed = s.sealed, key_id = $4
  FROM unnest($1::uuid[], $2::bytea[], $3::text[]) AS s (id, sealed, key_id)
 WHERE n.number_id = s.id AND n.key_id = s.key_id AND n.sealed IS NOT NULL
""",
    left="SELECT key_id, count(*) AS rows FROM phone_number WHERE sealed IS NOT NULL GROUP BY key_id ORDER BY key_id",
)
# A number that is kept until its request's grant comes is sealed with the id of the member that it is for.
REQUESTS = Kind(
    name="numbers of open requests",
    take="""
SELECT request_id AS id, coalesce(member_id, user_id) AS user_id, new_sealed AS sealed, new_key_id AS key_id,
       new_country AS country
  FROM request
 WHERE new_sealed IS NOT NULL AND new_key_id <> $1 AND request_id > $2
 ORDER BY request_id LIMIT $3 FOR NO KEY UPDATE
""",
    put="""
UPDATE request r SET new_sealed = s.sealed, new_key_id = $4
  FROM unnest($1::uuid[], $2::bytea[], $3::text[]) AS s (id, sealed, key_id)
 WHERE r.request_id = s.id AND r.new_key_id = s.key_id AND r.new_sealed IS NOT NULL
""",
    left="SELECT new_key_id AS key_id, count(*) AS rows FROM request WHERE new_sealed IS NOT NULL "
    "GROUP BY new_key_id ORDER BY new_key_id",
)


NOW = "SELECT now()"


@dataclass(slots=True)
class Done:
    """What a run came to."""

    sealed: int = 0
    unreadable: int = 0


async def rekey(pool: Pool, settings: EnrolmentSettings) -> int:
    """Seal anew, and print how many numbers lie under which key; return 1 if some could not be opened."""
    ring = KeyRing("number_keys", settings.number_keys)
    unreadable = 0
    async with pool.acquire() as db:
        key = ring.current(await db.fetchval(NOW))
        for kind in (NUMBERS, REQUESTS):
            done = await _all_of(db, kind, ring, key)
            unreadable += done.unreadable
            left = ", ".join(f"{row['key_id']}: {row['rows']}" for row in await db.fetch(kind.left)) or "none"
            print(f"{kind.name}\tsealed anew: {done.sealed}\tcould not be opened: {done.unreadable}\tby key: {left}")  # noqa: T201
    return 1 if unreadable else 0


async def _all_of(db: Connection, kind: Kind, ring: KeyRing, key: Key) -> Done:
    done, after, full = Done(), _FIRST, True
    while full:
        async with db.transaction():
            rows = await db.fetch(kind.take, key.key_id, after, BATCH)
            sealed = [(row, anew) for row in rows if (anew := _sealed_anew(row, ring, key)) is not None]
            await db.execute(
                kind.put,
                [row["id"] for row, _ in sealed],
                [anew for _, anew in sealed],
                [row["key_id"] for row, _ in sealed],
                key.key_id,
            )
        done.sealed += len(sealed)
        done.unreadable += len(rows) - len(sealed)
        full = len(rows) == BATCH
        after = rows[-1]["id"] if rows else after
    return done


def _sealed_anew(row: asyncpg.Record, ring: KeyRing, key: Key) -> bytes | None:
    """Return the number under the current key; None if it does not open."""
    try:
        number = open_number(ring.get(row["key_id"]).secret, row["sealed"], row["user_id"], row["country"])
    except (KeyUnknownError, SealBrokenError) as error:
        print(f"{row['id']}\tunder {row['key_id']}: {type(error).__name__}")  # noqa: T201 - it quotes no number
        return None
    return seal_number(key.secret, secrets.token_bytes(NONCE_BYTES), number, row["user_id"])
