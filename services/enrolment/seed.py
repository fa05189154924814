"""The demonstration's people, through this service's own store: members, confirmed numbers, two-factor on."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from countersign.contract import Actor, Role
from countersign.contract.number import NONCE_BYTES, fingerprint_of, parse_number, seal_number
from countersign.runtime.keys import KeyRing
from services.enrolment import changes, store
from services.enrolment.model import Change, Member, MemberChanged, Profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.keys import Key
    from services.enrolment.settings import EnrolmentSettings

_SEED = Actor(kind="system", id="seed")

ADD_NUMBERS = """
INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at,
                          confirmed_at)
SELECT number_id, user_id, 'confirmed', hint, country, sealed, $6, fingerprint, $8, $8
  FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $7::bytea[])
    AS n (number_id, user_id, hint, country, sealed, fingerprint)
 ORDER BY number_id
"""

TURN_ON = "UPDATE account SET two_factor = true, switched_at = now() WHERE account_id = $1"


class Person(BaseModel):
    """A person of the seed file, as far as enrolment is concerned."""

    model_config = ConfigDict(frozen=True)

    user_id: UUID
    account_id: UUID
    role: Role
    name: str
    number: str
    number_id: UUID
    locale: str | None = None


class SeedFile(BaseModel):
    """The part of the seed file that enrolment takes."""

    account_id: UUID
    two_factor: bool
    people: list[Person]


async def seed(pool: Pool, settings: EnrolmentSettings, content: Mapping[str, Any]) -> None:
    """Seed what is not there yet. People who are known, and all that they changed since, stay as they are."""
    wanted = SeedFile.model_validate(content)
    async with pool.acquire() as db, db.transaction():
        now = await store.now_of(db)
        two_factor = await store.lock_accounts(db, {person.account_id for person in wanted.people}, make=True)
        known = await store.members(db, [person.user_id for person in wanted.people])
        new = [person for person in wanted.people if person.user_id not in known]
        if not new:
            return
        await store.save_members(db, [MemberChanged(_member(person)) for person in new], now)
        key = KeyRing("number_keys", settings.number_keys).current(now)
        await _add_numbers(db, new, key, settings.fingerprint_key.get_secret_value(), now)
        await changes.keep(db, [_confirmed(person) for person in new], now)
        of_account = {person.user_id for person in wanted.people if person.account_id == wanted.account_id}
        if wanted.two_factor and not two_factor[wanted.account_id] and not of_account & known.keys():
            await db.execute(TURN_ON, wanted.account_id)
            await changes.keep(db, [_enabled(wanted.account_id)], now)


async def _add_numbers(
    db: Connection, people: Sequence[Person], key: Key, fingerprint_key: bytes, now: datetime
) -> None:
    numbers = [parse_number(person.number) for person in people]
    await db.execute(
        ADD_NUMBERS,
        [person.number_id for person in people],
        [person.user_id for person in people],
        [number.hint for number in numbers],
        [number.country for number in numbers],
        [
            seal_number(key.secret, secrets.token_bytes(NONCE_BYTES), number, person.user_id)
            for number, person in zip(numbers, people, strict=True)
        ],
        key.key_id,
        [fingerprint_of(fingerprint_key, number) for number in numbers],
        now,
    )


def _member(person: Person) -> Member:
    return Member(person.user_id, person.account_id, 1, Profile(person.role, person.name, person.locale))


def _confirmed(person: Person) -> Change:
    return Change(
        kind="number.confirmed",
        account_id=person.account_id,
        actor=_SEED,
        user_id=person.user_id,
        number_id=person.number_id,
    )


def _enabled(account_id: UUID) -> Change:
    return Change(kind="two_factor.enabled", account_id=account_id, actor=_SEED)
