"""Many people with protected accounts, put in by COPY; the n-th is the same to whoever fills, asks or answers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from countersign.contract import challenge_id_of
from countersign.contract.number import NONCE_BYTES, PhoneNumber, seal_number
from services.verifier.codes import digest_code

if TYPE_CHECKING:
    import asyncpg

    from tests.support.servers import Servers

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DIGEST = "x" * 43


@dataclass(frozen=True, slots=True)
class Somebody:
    """The owner of an account of their own, and the computer that it knows."""

    account_id: UUID
    user_id: UUID
    number_id: UUID
    computer: str
    number: str = field(repr=False)


def somebody(nth: int) -> Somebody:
    """Return the n-th person."""
    return Somebody(
        _id("account", nth), _id("user", nth), _id("number", nth), computer(nth + (1 << 23)), f"+4670174{nth:07d}"
    )


def request_id(run: str, nth: int) -> UUID:
    """Return the id of the n-th request of a run."""
    return _id(f"request {run}", nth)


def computer(nth: int) -> str:
    """Return the n-th address of 10.0.0.0/8, a place to the local policy; people know those from 2^23 on."""
    return f"10.{nth >> 16 & 255}.{nth >> 8 & 255}.{nth & 255}"


def code(nth: int) -> str:
    """Return the code of the n-th prepared challenge."""
    return f"{nth * 7919 % 1_000_000:06d}"


def _id(kind: str, nth: int) -> UUID:
    return UUID(bytes=hashlib.md5(f"bench {kind} {nth}".encode(), usedforsecurity=False).digest(), version=4)


async def put_in(db: asyncpg.Connection[asyncpg.Record], servers: Servers, count: int) -> None:
    """Put the first `count` people in: accounts with two-factor on, confirmed numbers, one known place each."""
    held: dict[str, Any] = servers.secrets["enrolment"]
    key = held["number_keys"][0]
    secret, counting = base64.b64decode(key["secret"]), base64.b64decode(held["fingerprint_key"])
    people = [somebody(nth) for nth in range(count)]
    async with db.transaction():
        await _copy(db, "enrolment", "account", ("account_id", "two_factor"), [(p.account_id, True) for p in people])
        columns = ("user_id", "account_id", "version", "role", "name")
        await _copy(db, "enrolment", "member", columns, [(p.user_id, p.account_id, 1, "owner", "Ada") for p in people])
        columns = ("number_id", "user_id", "state", "hint", "country", "sealed", "key_id", "fingerprint", "provided_at")
        rows = []
        for person in people:
            closed = seal_number(
                secret, secrets.token_bytes(NONCE_BYTES), PhoneNumber(person.number, "SE"), person.user_id
            )
            counted_by = hmac.digest(counting, person.number.encode(), "sha256")
            hint = f"+46 ••••••••{person.number[-2:]}"
            rows.append(
                (person.number_id, person.user_id, "confirmed", hint, "SE", closed, key["key_id"], counted_by, LONG_AGO)
            )
        await _copy(db, "enrolment", "phone_number", columns, rows)
        columns = ("account_id", "place", "taught_by", "first_used_at", "last_used_at")
        yesterday = await db.fetchval("SELECT now() - interval '1 day'")
        places = [(p.account_id, f"{p.computer}/32", p.user_id, yesterday, yesterday) for p in people]
        await _copy(db, "risk_evaluator", "place", columns, places)


async def put_challenges(
    db: asyncpg.Connection[asyncpg.Record], servers: Servers, schema: str, run: str, people: int, count: int
) -> None:
    """Put in open challenges, as if they had been issued and texted, the n-th to be answered with `code(n)`."""
    pepper = base64.b64decode(servers.secrets["verifier"]["pepper"])
    now, expires = await db.fetchrow("SELECT now(), now() + interval '10 minutes'")
    requests, challenges, sends, counters = [], [], [], {}
    for nth in range(count):
        person, asked = somebody(nth % people), request_id(run, nth)
        challenge, place = challenge_id_of(asked), f"{computer(nth)}/32"
        who = (person.account_id, person.user_id, "login", DIGEST)
        requests.append((asked, *who, place, now))
        hint, where = "+46 ••••••••05", f'{{"ip":"{computer(nth)}","locale":"en"}}'
        told = ["ip.new"], where, "{}", place, False, person.number_id, hint, 5, now, expires
        challenges.append((challenge, asked, *who, *told))
        sends.append((challenge, 1, digest_code(pepper, challenge, 1, code(nth)), now, "accepted"))
        counters[person.user_id] = (person.user_id, False)
    async with db.transaction():
        who = ("account_id", "user_id", "action", "digest")
        await _copy(db, schema, "request", ("request_id", *who, "place", "taken_at"), requests)
        columns = ("reasons", "client", "summary", "place", "place_known", "number_id", "number_hint", "attempts_max")
        columns = ("challenge_id", "request_id", *who, *columns, "issued_at", "expires_at")
        await _copy(db, schema, "challenge", columns, challenges)
        await _copy(db, schema, "send", ("challenge_id", "send", "code_digest", "issued_at", "state"), sends)
        known = {
            row["user_id"] for row in await db.fetch(f"SELECT user_id FROM {schema}.counter WHERE NOT place_known")
        }
        fresh = [row for user, row in counters.items() if user not in known]
        await _copy(db, schema, "counter", ("user_id", "place_known"), fresh)


async def _copy(
    db: asyncpg.Connection[asyncpg.Record], schema: str, table: str, columns: tuple[str, ...], rows: list[Any]
) -> None:
    await db.copy_records_to_table(table, schema_name=schema, columns=columns, records=rows)
