"""Runs exports on real servers, asks it over HTTP, and decides like the verifier."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg

from countersign.contract import AccessDenied, AccessGranted, AccessRequested, base64url, req_of
from countersign.runtime.messages.cloudevents import value_of, write
from countersign.runtime.settings import Caller, HttpSettings, KafkaSettings, PostgresSettings
from deploy.local.process import free_ports
from services.exports import contacts
from services.exports.settings import ExportsSettings
from services.exports.wiring import SERVICE
from tests.support.events import clock
from tests.support.frame import running
from tests.support.grants import DENIAL_TYP, KeySite, Signer, claims_of, denial_claims_of
from tests.support.kafka import eventually, publish, read_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

    from countersign.runtime.messages.record import Outgoing
    from tests.support.servers import Servers

BEARER = "exports-tests-" + "b" * 32
OTHER_BEARER = "exports-tests-" + "o" * 32
ROUTES = ["lists.read", "contacts.read", "exports.ask", "exports.read", "exports.file"]


@dataclass
class Answer:
    """What a route answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass
class Customer:
    """An account with one list, and a user of it."""

    account_id: UUID = field(default_factory=uuid4)
    user_id: UUID = field(default_factory=uuid4)
    list_id: UUID = field(default_factory=uuid4)
    session: bytes = field(default_factory=lambda: sha256(uuid4().bytes).digest())
    contact_ids: list[UUID] = field(default_factory=list)

    @property
    def who(self) -> dict[str, str]:
        return {**self.user, "session": base64url(self.session)}

    @property
    def user(self) -> dict[str, str]:
        return {"account_id": str(self.account_id), "user_id": str(self.user_id)}


@dataclass
class Exporting:
    """The running service and its servers."""

    servers: Servers
    settings: ExportsSettings
    url: str
    http: aiohttp.ClientSession
    signer: Signer
    pool: asyncpg.Pool[asyncpg.Record]

    async def call(self, method: str, path: str, *, bearer: str | None = BEARER, **over: Any) -> Answer:
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        async with self.http.request(method, self.url + path, headers=headers | over.pop("headers", {}), **over) as got:
            raw = await got.read()
            told = json.loads(raw) if got.content_type in {"application/json", "application/problem+json"} else raw
            return Answer(got.status, told, dict(got.headers))

    async def a_customer(self, rows: int = 3, name: str = "Newsletter", **over: str) -> Customer:
        """Seed a list the way the demonstration is seeded."""
        customer = Customer()
        people = [
            {"contact_id": str(uuid4()), "email": f"c{n:03}@example.net", "name": f"Contact {n:03}", **over}
            for n in range(rows)
        ]
        customer.contact_ids = [UUID(one["contact_id"]) for one in people]
        listed = {"list_id": str(customer.list_id), "name": name, "contacts": people}
        await contacts.seed(self.pool, None, {"account_id": str(customer.account_id), "lists": [listed]})
        return customer

    def body(self, customer: Customer, **over: Any) -> dict[str, Any]:
        client = {"ip": "203.0.113.7", "locale": "en"}
        return {**customer.who, "list_id": str(customer.list_id), "format": "csv", "client": client, **over}

    async def ask(self, customer: Customer, **over: Any) -> UUID:
        answer = await self.call("POST", "/v1/exports", json=self.body(customer, **over))
        assert answer.status == 202, answer
        return UUID(answer.body["export_id"])

    async def read(self, customer: Customer, export_id: UUID) -> dict[str, Any]:
        answer = await self.call("GET", f"/v1/exports/{export_id}", params=customer.who)
        assert answer.status == 200, answer
        told: dict[str, Any] = answer.body
        return told

    async def file(self, customer: Customer, export_id: UUID) -> Answer:
        return await self.call("GET", f"/v1/exports/{export_id}/file", params=customer.who)

    async def requested(self, export_id: UUID) -> AccessRequested:
        """Return the access request as it came to Kafka."""
        found: list[AccessRequested] = []

        async def arrived() -> bool:
            records = await read_topic(self.servers.kafka, "access.requests.v1")
            values = (record.value or b"" for record in records)
            found.extend(AccessRequested.model_validate_json(v) for v in values if str(export_id).encode() in v)
            return bool(found)

        await eventually(arrived)
        assert len({one.model_dump_json() for one in found}) == 1
        return found[0]

    def granted(self, request: AccessRequested, *, grant: str | None = None, **over: Any) -> Outgoing:
        """Return the verifier's grant; `over` changes the event, `grant` what it carries."""
        now = clock()
        event = AccessGranted(
            **{
                "request_id": request.request_id,
                "account_id": request.account_id,
                "user_id": request.user_id,
                "action": "export",
                "digest": request.digest,
                "method": "sms",
                "reasons": ["export.always"],
                "grant": grant or self.signer.sign(self.claims(request, now)),
                "grant_expires_at": now + timedelta(minutes=5),
                **over,
            }
        )
        return write(event, source="verifier", time=now)

    def claims(self, request: AccessRequested, now: datetime | None = None, **over: Any) -> dict[str, Any]:
        return claims_of(
            request_id=request.request_id,
            user_id=request.user_id,
            account_id=request.account_id,
            action="export",
            digest=request.digest,
            req=req_of(value_of(request)),
            now=now or clock(),
            **over,
        )

    def denied(self, request: AccessRequested, reason: str = "code.expired", **over: Any) -> Outgoing:
        """Return the verifier's denial; `over` changes the event, its proof with it unless that is given."""
        now = clock()
        named = ("request_id", "account_id", "user_id", "action", "digest")
        said: dict[str, Any] = {name: over.get(name, getattr(request, name)) for name in named}
        why = {"reason": reason, "retry_at": over.get("retry_at")}
        proof = self.signer.sign(denial_claims_of(**said, **why, now=now), typ=DENIAL_TYP)
        fields = {"method": "sms", "reasons": ["export.always"], "proof": proof}
        return write(AccessDenied(**{**said, **why, **fields, **over}), source="verifier", time=now)

    async def publish(self, *records: Outgoing) -> None:
        await publish(self.servers.kafka, *records)

    async def becomes(self, customer: Customer, export_id: UUID, state: str, within: float = 20) -> dict[str, Any]:
        async def so() -> bool:
            return bool((await self.read(customer, export_id))["state"] == state)

        await eventually(so, within=within)
        return await self.read(customer, export_id)

    async def dead(self, export_id: UUID) -> str:
        """Wait for a dead letter that names this export and return its cause."""
        causes: list[str] = []

        async def there() -> bool:
            rows = await self.pool.fetch(
                "SELECT cause FROM dead_letter WHERE position($1 IN value) > 0 AND state = 'new'",
                str(export_id).encode(),
            )
            causes.extend(row["cause"] for row in rows)
            return bool(causes)

        await eventually(there, within=20)
        return causes[0]


def settings_for(servers: Servers, jwks_url: str, port: int, **over: Any) -> ExportsSettings:
    callers = [
        Caller(name="gateway", token=BEARER, routes=ROUTES),
        Caller(name="reader", token=OTHER_BEARER, routes=["lists.read"]),
    ]
    fields: dict[str, Any] = {
        "postgres": PostgresSettings(dsn=servers.dsn_of("exports")),
        "kafka": KafkaSettings(bootstrap_servers=servers.kafka),
        "http": HttpSettings(port=port, callers=callers),
        "jwks_url": jwks_url,
        "instance": uuid4().hex[:12],  # two processes of one name throw each other out of the group
        **over,
    }
    return ExportsSettings(**fields)


@asynccontextmanager
async def asking(servers: Servers, **over: Any) -> AsyncIterator[Exporting]:
    """Give everything but the service itself."""
    (port,) = free_ports(1)
    signer = Signer(f"grant-{uuid4().hex[:8]}")
    pool = asyncpg.create_pool(servers.dsn_of("exports"), min_size=1, max_size=4)
    async with KeySite(signer.jwk()) as site, pool, aiohttp.ClientSession() as http:
        settings = settings_for(servers, over.pop("jwks_url", site.url), port, **over)
        yield Exporting(servers, settings, f"http://127.0.0.1:{port}", http, signer, pool)


@asynccontextmanager
async def exporting(servers: Servers, **over: Any) -> AsyncIterator[Exporting]:
    """Run the service in this process."""
    async with asking(servers, **over) as exports, running(SERVICE, exports.settings):
        yield exports
