"""A service that adds up: the smallest real fold, for tests of the runtime alone."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID, uuid4

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from countersign.runtime.database.budget import Budget
from countersign.runtime.database.postgres import Connection, migrations_of
from countersign.runtime.errors import ConflictError, KeyUnknownError
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import AT_ONCE, never
from countersign.runtime.messages.cloudevents import Event, read, write
from countersign.runtime.program.frame import Frame, Parts, Service
from countersign.runtime.publishing.outbox import Kept, append
from countersign.runtime.settings import KafkaSettings, LeaseSettings, PostgresSettings, ServiceSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Mapping, Sequence

    from countersign.runtime.messages.record import Incoming, Outgoing, Record
    from tests.support.servers import Servers

_AS_SHIPPED = LeaseSettings()


class Added(Event):
    """Asks the toy to add something, or to fail in one way or another."""

    ce_type: ClassVar[str] = "countersign.toy.added.v1"
    topic: ClassVar[str] = "overridden"

    id: UUID
    account: str
    amount: int = 1
    trouble: str | None = None

    def natural_key(self) -> str:
        return str(self.id)

    def record_key(self) -> str:
        return self.account


class Summed(Added):
    """What the toy says of an addition."""

    ce_type: ClassVar[str] = "countersign.toy.summed.v1"


# The runtime's migrations give rights to the command line's role, which a server of a test's own does not have.
OPERATOR = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'operator') THEN CREATE ROLE operator LOGIN; END IF;
END $$
"""


@dataclass
class Adding:
    """Adds amounts by account, once by id."""

    topic: str
    out: str
    keys_held: set[str] = field(default_factory=set)
    poison: set[str] = field(default_factory=set)
    mended: bool = False
    dedupes_by_key: bool = True
    delay_ms_max: int = AT_ONCE
    saves_at_once = staticmethod(never)

    def parse(self, record: Record) -> Incoming[Added] | None:
        return read(record, {Added.ce_type: Added}, frozenset({Added.ce_type, "countersign.toy.other.v1"}))

    def keys(self, incoming: Incoming[Added]) -> tuple[Hashable, ...]:
        return (incoming.event.id, incoming.event.account)

    async def load(self, db: Connection, events: Sequence[Incoming[Added]]) -> tuple[set[UUID], datetime]:
        row = await db.fetchrow(
            "SELECT now() AS now, array(SELECT id FROM addition WHERE id = ANY($1::uuid[])) AS known",
            [incoming.event.id for incoming in events],
        )
        assert row is not None
        return set(row["known"]), row["now"]

    def decide(self, incoming: Incoming[Added], state: set[UUID], now: datetime) -> Added | None:
        del now
        event = incoming.event
        if event.id in state:
            return None
        match event.trouble:
            case "conflict" if not self.mended:
                raise ConflictError("id: another addition has it")
            case "key":
                if "k1" not in self.keys_held:
                    raise KeyUnknownError("toy_keys", "k1")
            case "bug" if event.account in self.poison:
                raise ZeroDivisionError("poison")
        return event

    async def save(self, db: Connection, outcomes: Sequence[Added], now: datetime) -> Kept:
        if any(event.trouble == "bug in save" for event in outcomes):
            raise LookupError("a bug in save")
        rows = await db.fetch(
            "INSERT INTO addition SELECT * FROM unnest($1::uuid[], $2::text[], $3::int[]) ORDER BY 1"
            " ON CONFLICT DO NOTHING RETURNING id",
            [event.id for event in outcomes],
            [event.account for event in outcomes],
            [event.amount for event in outcomes],
        )
        new = {row["id"] for row in rows}
        due = [write(Summed(**event.model_dump()), source="toy", time=now) for event in outcomes if event.id in new]
        return await append(db, [_to(row, self.out) for row in due])

    def effect(self, outcome: Added) -> Effect:
        return Effect(f"added {outcome.amount}")

    def committed(self, outcomes: Sequence[Added]) -> None:
        pass


def _to(row: Outgoing, topic: str) -> Outgoing:
    return type(row)(row.event_id, topic, row.key, row.value, row.headers)


@dataclass
class Toy:
    """A toy on topics and in a schema of its own."""

    servers: Servers
    name: str
    topic: str
    out: str
    fold: Adding
    dsn: str

    def settings(self, instance: str = "0", *, leases: LeaseSettings = _AS_SHIPPED, **kafka: Any) -> ServiceSettings:
        return ServiceSettings(
            postgres=PostgresSettings(dsn=self.dsn),  # type: ignore[arg-type] # pydantic makes the secret
            kafka=KafkaSettings(bootstrap_servers=self.servers.kafka, session_timeout_ms=6000, **kafka),
            leases=leases,
            instance=instance,
        )

    def service(self, *folds: Adding, dues: Sequence[Any] = ()) -> Service[ServiceSettings]:
        own = folds or (self.fold,)

        @asynccontextmanager
        async def wire(_frame: Frame[ServiceSettings]) -> AsyncIterator[Parts]:
            yield Parts(folds=own, dues=dues)

        budget = Budget(lanes=len({fold.delay_ms_max for fold in own}))
        return Service(self.name, ServiceSettings, wire, lambda _settings: (), budget=budget)

    def added(self, account: str | None = None, traceparent: str | None = None, **over: Any) -> Outgoing:
        event = Added(id=over.pop("id", None) or uuid4(), account=account or str(uuid4()), **over)
        now = datetime.fromisoformat("2026-01-01T00:00:00Z")
        return _to(write(event, source="test", time=now, traceparent=traceparent), self.topic)

    async def fetch(self, sql: str, *arguments: Any) -> list[Mapping[str, Any]]:
        connection = await asyncpg.connect(self.dsn, server_settings={"search_path": self.name})
        try:
            return [dict(row) for row in await connection.fetch(sql, *arguments)]
        finally:
            await connection.close()

    async def committed(self) -> dict[str, int]:
        """Return how many records of each topic the group has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.servers.kafka)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(f"countersign.{self.name}")
        finally:
            await admin.close()
        found: Counter[str] = Counter()
        for partition, one in offsets.items():
            found[partition.topic] += max(0, one.offset)
        return dict(found)

    async def count(self, table: str = "addition") -> int:
        return int((await self.fetch(f"SELECT count(*) AS n FROM {table}"))[0]["n"])


async def a_toy(servers: Servers, partitions: int = 4) -> Toy:
    """Lay topics and a schema for a new toy."""
    name = f"toy_{uuid4().hex[:10]}"
    topic, out = f"{name}.in", f"{name}.out"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        configs = {"message.timestamp.type": "LogAppendTime"}
        await admin.create_topics(
            [NewTopic(t, num_partitions=partitions, replication_factor=1, topic_configs=configs) for t in (topic, out)]
        )
    finally:
        await admin.close()
    connection = await asyncpg.connect(servers.postgres_dsn)
    try:
        await connection.execute(OPERATOR)
        await connection.execute(f"CREATE SCHEMA {name}; SET search_path = {name}")
        for file, sql in migrations_of("toy_without_a_folder"):
            assert file.startswith("runtime/")
            await connection.execute(sql)
        await connection.execute("CREATE TABLE addition (id uuid PRIMARY KEY, account text, amount int)")
    finally:
        await connection.close()
    return Toy(servers, name, topic, out, Adding(topic, out), servers.postgres_dsn)


def decoded(record: Record) -> dict[str, Any]:
    """Return a record's JSON."""
    parsed: dict[str, Any] = json.loads(record.value or b"null")
    return parsed


async def settled(check: Any, seconds: float) -> bool:
    """Tell whether a check stays true for that long."""
    for _ in range(int(seconds / 0.1)):
        if not await check():
            return False
        await asyncio.sleep(0.1)
    return True
