"""`verify-audit`: reads the table, then account.settings.v1 from its start to its end, and says what does not agree.

In that order nothing that happens meanwhile looks wrong: what is in the table is on the topic or still in the outbox,
and what came to the topic afterwards is looked up in the table once more.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from countersign.contract import from_base64url, reader
from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.broker.closing import stop_clients
from countersign.runtime.consuming.fetching import record_of
from countersign.runtime.errors import OffContractError
from services.enrolment import changes
from services.enrolment.audit.decide import compare
from services.enrolment.audit.model import Account, Finding, Told, Topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
    from uuid import UUID

    import asyncpg

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.database.postgres import Connection, Pool
    from countersign.runtime.messages.record import Incoming, Record
    from services.enrolment.settings import EnrolmentSettings

TOPIC = "account.settings.v1"
KEPT = timedelta(days=365)  # schemas/topics/account.settings.v1.yaml: what is older may have left the topic
_ANSWER_MS_MAX = 15_000
_LOOK_MS = 500

ACCOUNTS = "SELECT account_id, version, chain_head FROM account ORDER BY account_id"
ACCOUNT = "SELECT account_id, version, chain_head FROM account WHERE account_id = $1"
WAITING = "SELECT event_id FROM outbox WHERE topic = $1"
NOW = "SELECT now()"

_parse: Callable[[Record], Incoming[changes.SettingEvent] | None] = reader(*changes.TYPES.values())


async def verify(pool: Pool, settings: EnrolmentSettings) -> int:
    """Print what is wrong with the audit of any account; return 0 if nothing is."""
    async with pool.acquire() as db:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            now = await db.fetchval(NOW)
            waiting = {row["event_id"] for row in await db.fetch(WAITING, TOPIC)}
            accounts = [await _account(db, row, waiting) for row in await db.fetch(ACCOUNTS)]
        try:
            told, unread = await _told(settings.kafka)
        except (KafkaError, OSError, TimeoutError) as error:
            print(f"verify-audit: {TOPIC} cannot be read: {type(error).__name__}", file=sys.stderr)  # noqa: T201
            return 1
        known = {account.account_id for account in accounts}
        accounts = [await _anew(db, account, told.get(account.account_id, {})) for account in accounts]
    for words in unread:
        print(f"topic\t{words}")  # noqa: T201 - a command's answer
    wrong = len(unread)
    for account in accounts:
        topic = Topic(now - KEPT, told.get(account.account_id, {}))
        wrong += _print(account.account_id, compare(account, topic))
    for account_id in sorted(told.keys() - known):
        findings = [Finding(version, "removed", "the topic tells of an account that is not in the table")
                    for version in sorted(told[account_id])]  # fmt: skip
        wrong += _print(account_id, findings)
    rows = sum(len(account.links) for account in accounts)
    events = sum(map(len, told.values()))
    print(f"{len(accounts)} accounts, {rows} rows, {events} told: {wrong or 'nothing'} wrong")  # noqa: T201
    return 1 if wrong else 0


async def _account(db: Connection, row: asyncpg.Record, waiting: Collection[UUID]) -> Account:
    links = await changes.links_of(db, row["account_id"])
    versions = (link.version for link in links if waiting and changes.event_id_of(link) in waiting)
    return Account(row["account_id"], row["version"], row["chain_head"], links, frozenset(versions))


async def _anew(db: Connection, account: Account, told: Mapping[int, object]) -> Account:
    """Return the account as it is now if the topic tells of versions that it did not have when the table was read."""
    seen = max(told, default=0)
    if seen <= account.version:
        return account
    async with db.transaction(isolation="repeatable_read", readonly=True):
        row = await db.fetchrow(ACCOUNT, account.account_id)
        if row is None:
            return account
        fresh = await _account(db, row, ())
    return replace(fresh, waiting=frozenset(link.version for link in fresh.links if link.version > seen))


async def _told(kafka: KafkaConnection) -> tuple[dict[UUID, dict[int, list[Told]]], list[str]]:
    """Return what the topic tells, by account and version, and a sentence for each record that cannot be read."""
    told: dict[UUID, dict[int, list[Told]]] = defaultdict(lambda: defaultdict(list))
    unread = []
    async for record in _records(kafka):
        try:
            incoming = _parse(record)
        except OffContractError as finding:
            unread.append(f"partition {record.partition}, offset {record.offset}: cannot be read: {finding}")
            continue
        if incoming is None:
            continue
        at_version = told[incoming.event.account_id][incoming.event.version]
        if (one := _of(incoming)) not in at_version:  # an event may be published twice
            at_version.append(one)
    return told, unread


async def _records(kafka: KafkaConnection) -> AsyncIterator[Record]:
    """Yield what lies on the topic now, from its start to its end."""
    consumer = AIOKafkaConsumer(
        TOPIC,
        **kafka.arguments(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_ANSWER_MS_MAX,
        metadata_max_age_ms=METADATA_AGE_MS,
    )
    try:
        await consumer.start()  # without a group it is given all partitions at once
        ends = await consumer.end_offsets(list(consumer.assignment()))
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for message in (await consumer.getmany(partition, timeout_ms=_LOOK_MS)).get(partition, ()):
                    yield record_of(message)
    finally:
        await stop_clients(consumer.stop)


def _of(incoming: Incoming[changes.SettingEvent]) -> Told:
    event = incoming.event
    fields = {
        "kind": event.ce_type.removeprefix("countersign.").removesuffix(".v1"),
        "user_id": event.user_id,
        "actor_kind": event.actor.kind,
        "actor_id": event.actor.id,
        "reason": event.reason,
        "ticket": event.ticket,
        "number_id": event.number_id,
        "old_number_id": event.old_number_id,
        "place": event.place,
        "at": incoming.ce_time.astimezone(UTC).isoformat(timespec="microseconds"),
    }
    head = from_base64url(event.chain_head)
    return Told({name: None if value is None else str(value) for name, value in fields.items()}, head)


def _print(account_id: UUID, findings: Iterable[Finding]) -> int:
    count = 0
    for count, finding in enumerate(findings, start=1):  # noqa: B007 - how many there were
        where = f"version {finding.version}" if finding.version else "account"
        print(f"{account_id}\t{where}\t{finding.verdict}\t{finding.words}")  # noqa: T201 - a command's answer
    return count
