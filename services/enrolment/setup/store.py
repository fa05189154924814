"""What setting up reads and writes. The caller holds the account's lock wherever something is changed."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from countersign.contract.number import NONCE_BYTES, fingerprint_of, seal_number
from services.enrolment import store
from services.enrolment.model import MemberNumbers
from services.enrolment.setup.model import Opened, SealedNumber, Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.contract.number import PhoneNumber
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import Key
    from services.enrolment.setup.model import Opening

FINGERPRINTS = """
SELECT number_id, fingerprint FROM phone_number
 WHERE user_id = $1 AND state IN ('provided', 'confirmed')
"""

HAS_CONFIRMED = "SELECT EXISTS (SELECT FROM phone_number WHERE user_id = $1 AND state = 'confirmed')"

GIVEN = "SELECT number_id FROM phone_number WHERE user_id = $1 AND state = 'provided'"
HINT = "SELECT hint FROM phone_number WHERE number_id = $1"

# A number entered twice stays the same one; another takes the place of the one given before.
KNOWN_AS = """
SELECT number_id FROM phone_number WHERE user_id = $1 AND state = 'provided' AND fingerprint = $2
"""
END_GIVEN = """
UPDATE phone_number SET state = 'replaced', ended_at = $2 WHERE user_id = $1 AND state = 'provided'
"""
GIVE = """
INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at)
VALUES ($1, $2, 'provided', $3, $4, $5, $6, $7, $8)
"""

OPEN = """
INSERT INTO request (request_id, account_id, user_id, action, digest, req, summary, number_id, old_number_id,
                     member_id, member_fingerprint, new_number_id, new_sealed, new_key_id, new_fingerprint,
                     new_country, new_hint, ip, opened_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""

OPENED_LATELY = """
SELECT count(*) AS opened, min(opened_at) + $3::interval - $2::timestamptz AS wait
  FROM request WHERE user_id = $1 AND opened_at > $2::timestamptz - $3::interval
"""

OPENED = """
SELECT r.user_id, r.action, coalesce(r.member_id, r.user_id) AS subject_id,
       coalesce(r.new_number_id, r.number_id) AS number_id, coalesce(r.new_hint, n.hint) AS hint,
       coalesce(r.new_fingerprint, n.fingerprint) AS fingerprint
  FROM request r LEFT JOIN phone_number n ON n.number_id = r.number_id
 WHERE r.request_id = $1
"""

NEW_NUMBERS = """
SELECT request_id, new_number_id, new_hint, new_country, new_key_id, new_sealed, new_fingerprint
  FROM request WHERE request_id = ANY($1::uuid[]) AND new_sealed IS NOT NULL
"""

SWITCH_ON = "UPDATE account SET two_factor = true, switched_at = $2 WHERE account_id = $1 AND NOT two_factor"
SWITCHED = "SELECT two_factor, version FROM account WHERE account_id = $1"

MEMBER_NUMBERS = """
SELECT m.user_id, m.role, m.name,
       EXISTS (SELECT FROM phone_number n WHERE n.user_id = m.user_id AND n.state = 'confirmed') AS confirmed,
       EXISTS (SELECT FROM phone_number n WHERE n.user_id = m.user_id AND n.state = 'provided') AS given
  FROM member m WHERE m.account_id = $1 AND m.role IS NOT NULL
 ORDER BY m.role <> 'owner', m.name, m.user_id
"""

PLACES_BUT = """
SELECT DISTINCT place::text AS place FROM risk_evaluator.known_place
 WHERE account_id = $1 AND place::text <> ALL($2::text[])
 ORDER BY place
"""


def seal(number: PhoneNumber, user_id: UUID, number_id: UUID, key: Key, fingerprint_key: bytes) -> SealedNumber:
    """Return a number as it is kept of a user."""
    return SealedNumber(
        number_id=number_id,
        hint=number.hint,
        country=number.country,
        key_id=key.key_id,
        sealed=seal_number(key.secret, secrets.token_bytes(NONCE_BYTES), number, user_id),
        fingerprint=fingerprint_of(fingerprint_key, number),
    )


async def standing(db: Connection, actor_id: UUID, target_id: UUID) -> Standing:
    """Lock the account of the user whose number it is about, and return who stands where in it."""
    before = (await store.members(db, [target_id])).get(target_id)
    two_factor = False
    if before is not None:
        two_factor = (await store.lock_accounts(db, [before.account_id], make=False))[before.account_id]
    known = await store.members(db, [actor_id, target_id])
    numbers = (await store.numbers(db, [target_id])).get(target_id, [])
    fingerprints = {row["number_id"]: row["fingerprint"] for row in await db.fetch(FINGERPRINTS, target_id)}
    return Standing(
        actor=known.get(actor_id),
        target=known.get(target_id),
        two_factor=two_factor,
        actor_confirmed=await has_confirmed(db, actor_id),
        numbers=tuple(numbers),
        fingerprints=fingerprints,
    )


async def has_confirmed(db: Connection, user_id: UUID) -> bool:
    """Return True if the user has a number in force."""
    return bool(await db.fetchval(HAS_CONFIRMED, user_id))


async def given_id(db: Connection, user_id: UUID) -> UUID:
    """Return the number of a user that waits for its first accepted code; there is one."""
    number_id: UUID = await db.fetchval(GIVEN, user_id)
    return number_id


async def hint_of(db: Connection, number_id: UUID) -> str:
    """Return what a page may show of a number."""
    return str(await db.fetchval(HINT, number_id))


async def give(db: Connection, user_id: UUID, number: SealedNumber, now: datetime) -> UUID | None:
    """Make the number the user's given one and return its id; None if it is that already."""
    if await db.fetchval(KNOWN_AS, user_id, number.fingerprint) is not None:
        return None
    await db.execute(END_GIVEN, user_id, now)
    row = (number.hint, number.country, number.sealed, number.key_id, number.fingerprint)
    await db.execute(GIVE, number.number_id, user_id, *row, now)
    return number.number_id


async def keep_opening(db: Connection, opening: Opening, digest: str, req: str, now: datetime) -> None:
    """Keep what the request is about, before it is published."""
    new = opening.new
    of_new = (None,) * 6
    if new is not None:
        of_new = (new.number_id, new.sealed, new.key_id, new.fingerprint, new.country, new.hint)  # type: ignore[assignment] # one column each
    await db.execute(
        OPEN,
        opening.request_id,
        opening.account_id,
        opening.user_id,
        opening.action,
        digest,
        req,
        opening.summary.model_dump_json(),
        opening.number_id,
        opening.old_number_id,
        opening.member_id,
        opening.member_fingerprint,
        *of_new,
        opening.client.ip,
        now,
    )


async def wait_of(db: Connection, user_id: UUID, most: int, within: timedelta, now: datetime) -> timedelta | None:
    """Return how long a user who opened that many requests within that time has to wait; None: not at all."""
    row = await db.fetchrow(OPENED_LATELY, user_id, now, within)
    return row["wait"] if row is not None and row["opened"] >= most else None


async def opened(db: Connection, request_id: UUID) -> Opened | None:
    """Return the request of that id, if this service made it."""
    row = await db.fetchrow(OPENED, request_id)
    return None if row is None else Opened(**dict(row))


async def new_numbers(db: Connection, request_ids: Sequence[UUID]) -> dict[UUID, SealedNumber]:
    """Return the numbers that the grants of these requests let in."""
    return {
        row["request_id"]: SealedNumber(
            number_id=row["new_number_id"],
            hint=row["new_hint"],
            country=row["new_country"],
            key_id=row["new_key_id"],
            sealed=row["new_sealed"],
            fingerprint=row["new_fingerprint"],
        )
        for row in await db.fetch(NEW_NUMBERS, request_ids)
    }


async def member_numbers(db: Connection, account_id: UUID) -> tuple[list[MemberNumbers], dict[UUID, str]]:
    """Return the account's members with the states of their numbers, and their names."""
    rows = await db.fetch(MEMBER_NUMBERS, account_id)
    found = [MemberNumbers(row["user_id"], row["role"], row["confirmed"], row["given"]) for row in rows]
    return found, {row["user_id"]: row["name"] for row in rows}


async def switch_on(db: Connection, account_id: UUID, now: datetime) -> None:
    """Turn two-factor on."""
    await db.execute(SWITCH_ON, account_id, now)


async def switched(db: Connection, account_id: UUID) -> tuple[bool, int]:
    """Return whether two-factor is on, and the version of the account's settings."""
    row = await db.fetchrow(SWITCHED, account_id)
    if row is None:
        raise AssertionError("the caller holds the account's lock")
    return row["two_factor"], row["version"]


async def places_but(db: Connection, account_id: UUID, kept: Sequence[str]) -> list[str]:
    """Return the known places of an account that are not among those to keep."""
    return [row["place"] for row in await db.fetch(PLACES_BUT, account_id, list(kept))]
