"""Everything that can be seen from outside: topics, tables, offsets, texts, replies, and what is written down.

The checker reads a world and nothing else, so that a test can build one by hand and plant a violation in it.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from countersign import policy
from countersign.client.grant import PublishedKey
from countersign.contract import base64url
from deploy.local.topics import topics
from tests.support.kafka import read_topic
from tests.support.sns_stand_in import Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.policy import TextLimits
    from countersign.runtime.messages.record import Record
    from tests.support.drive import Driver, Told
    from tests.support.fleet import Fleet
    from tests.support.servers import Servers
    from tests.support.sns_stand_in import Publish, SnsStandIn

SCHEMAS = ("risk_evaluator", "verifier", "notifier", "enrolment", "exports", "gateway")
# What each service reads: its group is `countersign.<service>`.
READ_BY: Mapping[str, tuple[str, ...]] = {
    "risk_evaluator": ("access.requests.v1", "access.decisions.v1", "account.settings.v1"),
    "verifier": ("access.assessments.v1", "sms.deliveries.v1"),
    "notifier": ("access.challenges.v1", "access.decisions.v1", "account.settings.v1"),
    "enrolment": ("account.members.v1", "access.decisions.v1"),
    "exports": ("access.decisions.v1",),
    "gateway": ("account.members.v1", "account.settings.v1"),
}

Row = dict[str, Any]
Fate = Literal["accepted", "in_doubt", "not_sent", "refused"]
_FATES: Mapping[Reply, Fate] = {
    Reply.ACCEPTED: "accepted",
    Reply.THROTTLED: "not_sent",
    Reply.THROTTLING: "not_sent",
    Reply.AUTHORIZATION: "not_sent",
    Reply.CREDENTIALS: "not_sent",
    Reply.SPEND_LIMIT: "not_sent",
    Reply.OPTED_OUT: "refused",
    Reply.INVALID: "refused",
}


@dataclass(frozen=True, slots=True)
class Text:
    """A publish that reached SNS. It may have left if it was accepted or is in doubt. `at` is in seconds."""

    number: str
    code: str
    fate: Fate
    at: float

    @property
    def may_have_left(self) -> bool:
        """Tell whether a phone may show it."""
        return self.fate in {"accepted", "in_doubt"}


@dataclass(frozen=True, slots=True)
class Keys:
    """What a checker opens and verifies with; no service has all of it."""

    codes: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    assessments: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    grants: Mapping[str, PublishedKey] = field(default_factory=dict)


@dataclass
class World:
    """What was seen. `written` are logs and metrics by name; `bearers` are secrets that none of them may hold."""

    limits: TextLimits
    keys: Keys = field(default_factory=Keys)
    records: dict[str, list[Record]] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    offsets: dict[str, dict[tuple[str, int], int]] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict, repr=False)
    bearers: Sequence[str] = field(default=(), repr=False)

    def table(self, name: str) -> list[Row]:
        """Return the rows of `schema.table`."""
        return self.tables.get(name, [])

    def topic(self, name: str) -> list[Record]:
        """Return the records of a topic in the order of partitions and offsets."""
        return self.records.get(name, [])


async def seen(fleet: Fleet, driver: Driver, sns: SnsStandIn, policy_file: Any) -> World:
    """Look at everything once."""
    servers = fleet.servers
    offsets = await committed_offsets(servers.kafka)  # before the tables: work goes on, offsets must not be ahead of it
    return World(
        limits=policy.load(policy_file).texts,
        keys=keys_of(servers),
        records={topic.name: await read_topic(servers.kafka, topic.name) for topic in topics()},
        tables=await tables_of(servers.postgres_dsn),
        offsets=offsets,
        texts=[text_of(publish) for publish in sns.publishes],
        told=list(driver.told),
        written={**fleet.logs(), **await fleet.metrics()},
        bearers=[fleet.bearer, *_passwords(servers)],
    )


def has_waited_for_its_key(table: str, row: Row) -> bool:
    """Return True for a dead letter of a grant that was read before its key could be fetched, and folded since.

    Services that start while the verifier starts have some (decision 84): nothing was wrong with them, nothing is open.
    """
    return table.endswith(".dead_letter") and (row["kind"], row["state"]) == ("key_unknown", "done")


def text_of(publish: Publish) -> Text:
    """Return a publish as the checker sees it."""
    return Text(publish.number, publish.code, _FATES.get(publish.reply, "in_doubt"), publish.at)


def keys_of(servers: Servers) -> Keys:
    """Return the verifier's keys from the secrets of a set of servers."""
    held = servers.secrets["verifier"]
    return Keys(
        codes={key["key_id"]: base64.b64decode(key["secret"]) for key in held["code_keys"]},
        assessments={key["key_id"]: base64.b64decode(key["secret"]) for key in held["assessment_keys"]},
        grants={key["key_id"]: published(key["key_id"], base64.b64decode(key["secret"])) for key in held["grant_keys"]},
    )


def published(key_id: str, seed: bytes) -> PublishedKey:
    """Return what the JWKS says of a key that signs grants."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return PublishedKey(
        key_id=key_id, public=OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": base64url(public)})
    )


def _passwords(servers: Servers) -> list[str]:
    return [match[1] for service in SCHEMAS if (match := re.search(r":([^:@/]{8,})@", servers.dsn_of(service)))]


async def tables_of(dsn: str) -> dict[str, list[Row]]:
    """Return every row of every table of the services."""
    db = await asyncpg.connect(dsn)
    try:
        async with db.transaction(isolation="repeatable_read", readonly=True):
            names = await db.fetch(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY($1::text[])", list(SCHEMAS)
            )
            return {
                f"{schema}.{table}": [dict(row) for row in await db.fetch(f'SELECT * FROM "{schema}"."{table}"')]
                for schema, table in names
            }
    finally:
        await db.close()


async def committed_offsets(bootstrap: str) -> dict[str, dict[tuple[str, int], int]]:
    """Return the committed offset of every partition that each service reads."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = {}
        for service in READ_BY:
            committed = await admin.list_consumer_group_offsets(f"countersign.{service}")
            found[service] = {(place.topic, place.partition): one.offset for place, one in committed.items()}
        return found
    finally:
        await admin.close()
