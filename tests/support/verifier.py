"""A verifier on real servers, the members it protects, and the phones that its codes go to."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from aiokafka import AIOKafkaConsumer
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from countersign.contract import (
    AccessAssessed,
    AccessDenied,
    AccessGranted,
    ChallengeIssued,
    canonical,
    challenge_id_of,
    from_base64url,
)
from deploy.local.process import free_ports
from deploy.local.programs import POLICY
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import SERVICE
from tests.support.events import an_access_assessed, clock, outgoing, signed
from tests.support.frame import running
from tests.support.kafka import eventually, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from tests.support.servers import Servers

ROUTES = ["requests.read", "challenges.answer", "challenges.resend", "challenges.cancel"]
WITHIN = 15.0


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody with a number, as enrolment's tables have them."""

    account_id: UUID
    user_id: UUID
    number_id: UUID | None


@dataclass
class Phones:
    """Everything the verifier published, by request and by challenge."""

    issued: dict[tuple[UUID, int], ChallengeIssued] = field(default_factory=dict)
    raw: dict[tuple[UUID, int], dict[str, Any]] = field(default_factory=dict)
    decisions: defaultdict[UUID, list[AccessGranted | AccessDenied]] = field(default_factory=lambda: defaultdict(list))


class VerifierUnderTest:
    """The service in this process, called over HTTP and fed over Kafka like any other."""

    def __init__(self, servers: Servers, settings: VerifierSettings, db: asyncpg.Pool[asyncpg.Record]) -> None:
        self.servers = servers
        self.settings = settings
        self.db = db
        self.phones = Phones()
        self.url = f"http://127.0.0.1:{settings.http.port}"
        token = settings.http.callers[0].token.get_secret_value()
        self.bearer = {"Authorization": f"Bearer {token}"}
        self.http = aiohttp.ClientSession(headers=self.bearer)

    # members

    async def member(
        self,
        *,
        role: str = "owner",
        two_factor: bool = True,
        number: str | None = "confirmed",
        account_id: UUID | None = None,
        held_for: timedelta | None = None,
    ) -> Member:
        """Put somebody into enrolment's tables; `number` is the state of theirs."""
        account, user = account_id or uuid4(), uuid4()
        held = clock() + held_for if held_for else None
        await self.db.execute(
            "INSERT INTO enrolment.account (account_id, two_factor, exports_held_until) VALUES ($1, $2, $3) "
            "ON CONFLICT DO NOTHING",
            account,
            two_factor,
            held,
        )
        await self.db.execute(
            "INSERT INTO enrolment.member (user_id, account_id, version, role, name) VALUES ($1, $2, 1, $3, 'Ada')",
            user,
            account,
            role,
        )
        number_id = await self.number(user, number) if number else None
        return Member(account, user, number_id)

    async def number(self, user_id: UUID, state: str) -> UUID:
        """Give a user a number of that state."""
        number_id = uuid4()
        await self.db.execute(
            """
            INSERT INTO enrolment.phone_number
                   (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at, ended_at)
            VALUES ($1, $2, $3, '+61 •••••••06', 'AU', $4, 'k', $5, now(),
                    CASE WHEN $3 IN ('replaced', 'reset') THEN now() END)
            """,
            number_id,
            user_id,
            state,
            secrets.token_bytes(40),
            secrets.token_bytes(32),
        )
        return number_id

    async def replace_number(self, member: Member) -> UUID:
        """Put another number in force."""
        await self.db.execute(
            "UPDATE enrolment.phone_number SET state = 'replaced', ended_at = now() WHERE number_id = $1",
            member.number_id,
        )
        return await self.number(member.user_id, "confirmed")

    # assessments

    def assessment(self, member: Member, **over: Any) -> AccessAssessed:
        """Return a signed assessment of a fresh login of that member."""
        key = self.settings.assessment_keys[0]
        fields = {"account_id": member.account_id, "user_id": member.user_id, "key_id": key.key_id} | over
        return signed(an_access_assessed(**fields), key.secret.get_secret_value())

    async def assess(self, member: Member, **over: Any) -> AccessAssessed:
        """Publish one and return it."""
        event = self.assessment(member, **over)
        await self.publish(event)
        return event

    async def publish(self, *events: Any) -> None:
        """Publish events as their services would."""
        await publish(self.servers.kafka, *(outgoing(event) for event in events))

    async def challenged(self, member: Member, **over: Any) -> tuple[AccessAssessed, UUID]:
        """Have a challenge opened; return its request and its id."""
        event = await self.assess(member, **over)
        for _ in range(9):  # what tests before this one left on the topic is read first
            state = await self.state(event.request_id, wait=10)
            if "state" in state:
                break
        assert state["state"] == "challenged", state
        return event, challenge_id_of(event.request_id)

    # codes and decisions

    async def code(self, challenge_id: UUID, send: int = 1) -> str:
        """Read the code of a text off the phone: only the holder of the notifier's key can."""
        issued = await self._come(lambda: self.phones.issued.get((challenge_id, send)))
        secret = next(k.secret.get_secret_value() for k in self.settings.code_keys if k.key_id == issued.key_id)
        raw = dict(self.phones.raw[challenge_id, send])
        closed = from_base64url(raw.pop("sealed_code"))
        return AESGCM(secret).decrypt(closed[:12], closed[12:], canonical(raw)).decode()

    async def decision(self, request_id: UUID) -> Any:
        """Return the decision about a request, as published: AccessGranted or AccessDenied."""
        return (await self._come(lambda: self.phones.decisions.get(request_id)))[0]

    async def _come(self, look: Any) -> Any:
        async def came() -> bool:
            return bool(look())

        await eventually(came, within=WITHIN)
        return look()

    # routes

    async def state(self, request_id: UUID, wait: float = 0, *, past: bool = False) -> dict[str, Any]:
        """Ask what became of a request."""
        query = {"wait": str(wait)} | ({"past": "challenged"} if past else {})
        async with self.http.get(f"{self.url}/v1/requests/{request_id}", params=query) as reply:
            return {"status": reply.status, **await reply.json(content_type=None)}

    async def answer(self, challenge_id: UUID, code: str, answer_id: UUID | None = None) -> dict[str, Any]:
        """Answer over HTTP."""
        body = {"code": code, "answer_id": str(answer_id or uuid4())}
        return await self.call("POST", f"/v1/challenges/{challenge_id}/answers", body)

    async def resend(self, challenge_id: UUID) -> dict[str, Any]:
        """Ask for a further text over HTTP."""
        return await self.call("POST", f"/v1/challenges/{challenge_id}/sends", {})

    async def cancel(self, challenge_id: UUID) -> dict[str, Any]:
        """Give up over HTTP."""
        return await self.call("DELETE", f"/v1/challenges/{challenge_id}", None)

    async def call(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Call a route; the status and the headers are in the reply too."""
        async with self.http.request(method, self.url + path, json=body) as reply:
            content = await reply.json(content_type=None) if reply.status != 204 else {}
            return {**(content or {}), "status": reply.status, "retry_after": reply.headers.get("Retry-After")}


def settings_of(servers: Servers, **over: Any) -> VerifierSettings:
    """Return a verifier's settings on these servers, with a bearer for the gateway and one for somebody else."""
    held = servers.secrets["verifier"]
    callers = [
        {"name": "gateway", "token": secrets.token_urlsafe(32), "routes": ROUTES},
        {"name": "reader", "token": secrets.token_urlsafe(32), "routes": ["requests.read"]},
    ]
    fields = {
        **held,
        "kafka": {"bootstrap_servers": servers.kafka},
        "http": {"port": free_ports(1)[0], "callers": callers},
        "policy_file": POLICY,
        "instance": uuid4().hex[:12],
    }
    return VerifierSettings(**(fields | over))


@asynccontextmanager
async def a_verifier(servers: Servers, **over: Any) -> AsyncIterator[VerifierUnderTest]:
    """Run a verifier in this process and listen to what it publishes."""
    settings = settings_of(servers, **over)
    async with AsyncExitStack() as stack:
        db = await stack.enter_async_context(asyncpg.create_pool(servers.postgres_dsn, min_size=1, max_size=4))
        await stack.enter_async_context(running(SERVICE, settings))
        verifier = VerifierUnderTest(servers, settings, db)
        stack.push_async_callback(verifier.http.close)
        consumer = AIOKafkaConsumer(
            ChallengeIssued.topic, AccessGranted.topic, bootstrap_servers=servers.kafka, auto_offset_reset="latest"
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        await consumer.seek_to_end()
        for partition in consumer.assignment():
            await consumer.position(partition)
        listening = asyncio.get_running_loop().create_task(_listen(consumer, verifier.phones))
        stack.callback(listening.cancel)
        yield verifier


async def _listen(consumer: AIOKafkaConsumer, phones: Phones) -> None:
    async for record in consumer:
        names = dict(record.headers)
        kind = names["ce_type"].decode()
        if kind == ChallengeIssued.ce_type:
            issued = ChallengeIssued.model_validate_json(record.value)
            key = (issued.challenge_id, issued.send)
            phones.raw[key] = json.loads(record.value)
            phones.issued[key] = issued
        else:
            model = AccessGranted if kind == AccessGranted.ce_type else AccessDenied
            decision = model.model_validate_json(record.value)
            phones.decisions[decision.request_id].append(decision)
