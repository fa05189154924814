"""The wanderers' log-ins played on real servers, and what a command could have changed there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer

from countersign.contract import req_of
from tests.support.events import a_client, an_access_denied, an_access_requested, outgoing
from tests.support.kafka import eventually, publish

if TYPE_CHECKING:
    from countersign.contract import AccessRequested
    from countersign.runtime.messages.record import Outgoing
    from tests.support.evaluator import Evaluator
    from tests.support.servers import Servers
    from tests.support.wanderers import Login, Wanderers


async def enrol(servers: Servers, people: Wanderers) -> None:
    """Put everybody into enrolment's tables, with a confirmed number."""
    db = await asyncpg.connect(servers.dsn_of("enrolment"))
    try:
        await db.executemany(
            "INSERT INTO account (account_id, two_factor) VALUES ($1, $2)",
            [(one.account_id, one.two_factor) for one in people.accounts],
        )
        users = [(user, one.account_id) for one in people.accounts for user in one.users]
        await db.executemany(
            "INSERT INTO member (user_id, account_id, version, role, name) VALUES ($1, $2, 1, 'managed', 'Ada')", users
        )
        await db.executemany(
            "INSERT INTO phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint,"
            " provided_at) VALUES ($1, $2, 'confirmed', '+61', 'AU', 'x', 'number-1', $3, now())",
            [(number := uuid4(), user, number.bytes) for user, _ in users],
        )
    finally:
        await db.close()


def asked(login: Login) -> AccessRequested:
    return an_access_requested(
        request_id=login.request_id,
        account_id=login.account_id,
        user_id=login.user_id,
        client=a_client(ip=login.ip),
    )


def decision(evaluator: Evaluator, event: AccessRequested, sent: Outgoing, *, granted: bool) -> Outgoing:
    """Return what the verifier says of a request."""
    ids = {name: getattr(event, name) for name in ("request_id", "user_id", "account_id", "action", "digest")}
    if not granted:
        return outgoing(an_access_denied(**ids))
    return evaluator.granted(SimpleNamespace(**ids, req=req_of(sent.value)))  # type: ignore[arg-type] # what it looks at


async def wander(evaluator: Evaluator, db: asyncpg.Connection, people: Wanderers, number: int) -> None:
    """Play a round: everybody asks, is judged, enters the code or does not, and is known from then on.

    As the verifier, decide of what lies on Kafka, not of what the database says already: a decision that is appended
    before the assessment of its request is none that could be.
    """
    logins = list(people.logins(number))
    events = [asked(login) for login in logins]
    sent = [outgoing(event) for event in events]
    await publish(evaluator.servers.kafka, *sent)
    ids = [event.request_id for event in events]
    keys = [str(event.account_id).encode() for event in events]

    async def judged() -> bool:
        sql = "SELECT count(*) FROM assessment WHERE request_id = ANY($1::uuid[])"
        if await db.fetchval(sql, ids) < len(ids):
            return False
        return not await db.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE key = ANY($1::bytea[]))", keys)

    await eventually(judged, within=60)
    granted = [people.follow(login, account) for login, account in zip(logins, people.accounts, strict=True)]
    await publish(
        evaluator.servers.kafka,
        *(decision(evaluator, event, out, granted=one) for event, out, one in zip(events, sent, granted, strict=True)),
    )

    async def learned() -> bool:
        rows = await db.fetch("SELECT account_id, place FROM place")
        return people.learned() <= {(row["account_id"], row["place"]) for row in rows}

    await eventually(learned, within=60)


async def untouched(servers: Servers, db: asyncpg.Connection) -> list[Any]:
    """Return all that a command could have written or published."""
    tables = ("assessment", "place", "forgotten", "outbox", "dead_letter", "operation")
    rows = [await db.fetchval(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {one} t") for one in tables]
    consumer = cli_consumer(servers)
    await consumer.start()
    try:
        return [*rows, sorted((await consumer.end_offsets(list(consumer.assignment()))).items())]
    finally:
        await consumer.stop()


def cli_consumer(servers: Servers) -> Any:
    topics = ("access.requests.v1", "access.assessments.v1", "access.decisions.v1", "account.settings.v1")
    return AIOKafkaConsumer(*topics, bootstrap_servers=servers.kafka)
