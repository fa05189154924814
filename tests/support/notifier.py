"""A notifier on real servers, people with phones, and challenges sealed by the verifier's own hand."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg

from countersign.contract.number import NONCE_BYTES, PhoneNumber, seal_number
from countersign.runtime.checkpoint import Checkpoint, nothing
from services.notifier.settings import NotifierSettings
from services.notifier.wiring import SERVICE
from services.verifier.codes import sealed
from services.verifier.model import FreshCode
from tests.support.events import a_challenge_issued, clock, outgoing
from tests.support.frame import running
from tests.support.kafka import eventually, publish, read_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from countersign.contract import ChallengeIssued
    from countersign.runtime.program.machine import Machine
    from tests.support.servers import Servers
    from tests.support.sns_stand_in import SnsStandIn

HOST = "app.example.com"
LOCAL_POLICY = "deploy/policy/local.yaml"
# Reserved for fiction by the Swedish authority: 070-1740605 to 070-1740699.
_NUMBERS = count()
WITHIN = 20.0

ADD_MEMBER = """
WITH a AS (INSERT INTO enrolment.account (account_id, two_factor) VALUES ($1, true) ON CONFLICT DO NOTHING)
INSERT INTO enrolment.member (user_id, account_id, version, role, name, locale) VALUES ($2, $1, 1, 'managed', 'Ada', $3)
"""
ADD_NUMBER = """
INSERT INTO enrolment.phone_number (number_id, user_id, state, hint, country, sealed, key_id, fingerprint, provided_at)
VALUES ($1, $2, 'confirmed', '+46 ••••••••05', $3, $4, $5, $6, now())
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a phone, as enrolment has them."""

    account_id: UUID
    user_id: UUID
    number_id: UUID
    number: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """A challenge as it lies on the topic, and the code that only its phone should see."""

    event: ChallengeIssued
    code: str

    @property
    def key(self) -> tuple[UUID, int]:
        return self.event.challenge_id, self.event.send


@dataclass
class Neighbourhood:
    """What stands around a notifier under test."""

    servers: Servers
    db: asyncpg.Pool[asyncpg.Record]
    sns_url: str
    policy_file: str = LOCAL_POLICY
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)

    def settings(self, instance: str = "t0", **over: Any) -> NotifierSettings:
        """Return the settings of a notifier; one instance name is one member of the group."""
        held = self.servers.secrets["notifier"]
        fields: dict[str, Any] = {
            **held,
            "kafka": {"bootstrap_servers": self.servers.kafka, "session_timeout_ms": 6000},
            "instance": instance,
            "policy_file": self.policy_file,
            "sns": {**held["sns"], "endpoint_url": self.sns_url},
            "text": {"host": HOST},
        }
        return NotifierSettings(**(fields | over))

    def notifier(
        self, instance: str = "t0", *, checkpoint: Checkpoint = nothing, **over: Any
    ) -> AbstractAsyncContextManager[Machine]:
        """Run a notifier in this process."""
        return running(SERVICE, self.settings(instance, **over), checkpoint=checkpoint)

    async def person(self, *, account_id: UUID | None = None, fingerprint: bytes | None = None, **over: Any) -> Person:
        """Put somebody with a confirmed number into enrolment's tables; their number counts as no other's does."""
        number = PhoneNumber(f"+4670174{605 + next(_NUMBERS) % 95:04d}", "SE")
        person = Person(account_id or uuid4(), uuid4(), uuid4(), number.e164)
        key = self.servers.secrets["notifier"]["number_keys"][0]
        closed = seal_number(_secret(key), secrets.token_bytes(NONCE_BYTES), number, person.user_id)
        await self.db.execute(ADD_MEMBER, person.account_id, person.user_id, over.get("locale"))
        await self.db.execute(
            ADD_NUMBER,
            person.number_id,
            person.user_id,
            over.get("country", "SE"),
            over.get("sealed", closed),
            over.get("key_id", key["key_id"]),
            fingerprint or secrets.token_bytes(32),
        )
        return person

    def challenge(
        self,
        person: Person,
        *,
        life: float = 300.0,
        key: dict[str, Any] | None = None,
        code: str | None = None,
        **over: Any,
    ) -> Challenge:
        """Return a challenge for that person, sealed. Its code has 8 digits, so that a search finds no other."""
        key = key or self.servers.secrets["notifier"]["code_keys"][0]
        code = code or f"{secrets.randbelow(10**8):08d}"
        fields = {
            "account_id": person.account_id,
            "user_id": person.user_id,
            "number_id": person.number_id,
            "expires_at": clock() + timedelta(seconds=life),
            "key_id": key["key_id"],
        }
        event = a_challenge_issued(**(fields | over))
        return self._sealed(event, code, key)

    def resent(self, challenge: Challenge, code: str) -> Challenge:
        """Return the next send of a challenge, as the verifier issues it when its user asks."""
        key = self.servers.secrets["notifier"]["code_keys"][0]
        event = challenge.event.model_copy(update={"send": challenge.event.send + 1, "key_id": key["key_id"]})
        return self._sealed(event, code, key)

    def _sealed(self, event: ChallengeIssued, code: str, key: dict[str, Any]) -> Challenge:
        return Challenge(sealed(event, FreshCode(code, secrets.token_bytes(12)), _secret(key)), code)

    async def issue(self, *challenges: Challenge) -> None:
        """Put challenges on the topic."""
        await publish(self.servers.kafka, *(outgoing(challenge.event, source="verifier") for challenge in challenges))

    async def dispatch(self, challenge: Challenge) -> asyncpg.Record | None:
        """Return the notifier's row of a challenge."""
        return await self.db.fetchrow(
            "SELECT * FROM notifier.dispatch WHERE challenge_id = $1 AND send = $2", *challenge.key
        )

    async def state(self, challenge: Challenge) -> str | None:
        """Return how far its text has come."""
        row = await self.dispatch(challenge)
        return row["state"] if row else None

    async def settled(self, *challenges: Challenge, within: float = WITHIN) -> list[asyncpg.Record]:
        """Wait until all have come to their end; return their rows."""
        ids, sends = [c.event.challenge_id for c in challenges], [c.event.send for c in challenges]
        rows: list[asyncpg.Record] = []

        async def all_ended() -> bool:
            rows[:] = await self.db.fetch(
                "SELECT d.* FROM unnest($1::uuid[], $2::int[]) WITH ORDINALITY AS k (challenge_id, send, n) "
                "JOIN notifier.dispatch d USING (challenge_id, send) WHERE d.settled_at IS NOT NULL ORDER BY k.n",
                ids,
                sends,
            )
            return len(rows) == len(challenges)

        await eventually(all_ended, within=within)
        return rows

    @staticmethod
    def sent(sns: SnsStandIn, *challenges: Challenge) -> list[str]:
        """Return the codes that arrived at SNS for these challenges, each as often as it arrived, sorted."""
        ours = {challenge.code for challenge in challenges}
        return sorted(text.code for text in sns.publishes if text.code in ours)

    async def deliveries(self, *challenges: Challenge) -> list[dict[str, Any]]:
        """Wait for and return what sms.deliveries says of these texts, in their order."""
        wanted = {(str(c.event.challenge_id), c.event.send): n for n, c in enumerate(challenges)}
        found: list[dict[str, Any]] = []

        async def all_told() -> bool:
            found.clear()
            for record in await read_topic(self.servers.kafka, "sms.deliveries.v1"):
                told = json.loads(record.value or b"{}")
                if (told.get("challenge_id"), told.get("send")) in wanted:
                    found.append({"type": (record.header("ce_type") or b"").decode(), **told})
            return len({(told["challenge_id"], told["send"]) for told in found}) == len(challenges)

        await eventually(all_told, within=WITHIN)
        return sorted(found, key=lambda told: wanted[told["challenge_id"], told["send"]])


def _secret(key: dict[str, Any]) -> bytes:
    return base64.b64decode(key["secret"])


@asynccontextmanager
async def a_neighbourhood(servers: Servers, sns_url: str) -> AsyncIterator[Neighbourhood]:
    """Open the database of a test with every right."""
    async with asyncpg.create_pool(servers.postgres_dsn, min_size=1, max_size=3) as db:
        yield Neighbourhood(servers, db, sns_url)


@asynccontextmanager
async def a_process(near: Neighbourhood, folder: Path, **over: str) -> AsyncIterator[tuple[int, Path]]:
    """Run a notifier as its users do; give its process id and its log."""
    settings = environment_of(near, folder) | over
    log = folder / "notifier.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.notifier",
            env=os.environ | {f"COUNTERSIGN_{name}": value for name, value in settings.items()},
            stdout=out,
            stderr=out,
        )
        try:
            yield process.pid, log
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


def environment_of(near: Neighbourhood, folder: Path) -> dict[str, str]:
    """Return the settings of a notifier that is a process of its own, with its secrets in the folder."""
    held = folder / "notifier.json"
    held.touch(mode=0o600)
    held.write_text(json.dumps(near.servers.secrets["notifier"]))
    return {
        "SECRETS_FILE": str(held),
        "KAFKA__BOOTSTRAP_SERVERS": near.servers.kafka,
        "KAFKA__SESSION_TIMEOUT_MS": "6000",
        "INSTANCE": "t0",
        "POLICY_FILE": near.policy_file,
        "SNS__ENDPOINT_URL": near.sns_url,
        "TEXT__HOST": HOST,
        "LOG_LEVEL": "INFO",
    }


def a_policy(folder: Path, **texts: object) -> str:
    """Write a policy with these text limits; return its path."""
    path = folder / "policy.yaml"
    path.write_text(json.dumps({"version": "test-1", "texts": texts}))
    return str(path)
