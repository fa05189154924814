"""A running risk-evaluator, asked and answered over Kafka, with the verifier's part played by a key of its own."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg

from countersign.contract import AccessAssessed, base64url, canonical
from countersign.runtime.folding.fold import absorb, rounds
from countersign.runtime.messages.cloudevents import read
from countersign.runtime.settings import KafkaSettings
from deploy.local.checkout import CHECKOUT
from services.risk_evaluator.wiring import SERVICE, RiskEvaluatorSettings
from tests.support.events import an_access_granted, an_access_requested, clock, outgoing
from tests.support.frame import running
from tests.support.grants import KeySite, Signer, claims_of
from tests.support.kafka import eventually, publish, read_topic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.program.frame import Frame, Parts
    from countersign.runtime.program.machine import Machine
    from tests.support.members import Member
    from tests.support.servers import Servers


@dataclass
class Evaluator:
    """A running risk-evaluator, and the verifier's part of the talk with it."""

    servers: Servers
    signer: Signer = field(default_factory=lambda: Signer(key_id=f"grant-{uuid4().hex[:12]}"))
    folds: Sequence[AnyFold] = ()

    def settings(self, jwks_url: str) -> RiskEvaluatorSettings:
        return RiskEvaluatorSettings(
            kafka=KafkaSettings(bootstrap_servers=self.servers.kafka),
            policy_file=CHECKOUT / "deploy/policy/local.yaml",
            jwks_url=jwks_url,
            **self.servers.secrets["risk_evaluator"],
        )

    async def ask(self, member: Member, **over: Any) -> AccessAssessed:
        """Publish an access request and return its assessment, its MAC checked."""
        request = an_access_requested(**({"account_id": member.account_id, "user_id": member.user_id} | over))
        await publish(self.servers.kafka, outgoing(request))
        return await self.assessment(request.request_id)

    async def assessment(self, request_id: UUID) -> AccessAssessed:
        found: list[AccessAssessed] = []

        async def arrived() -> bool:
            found[:] = await self.assessments(request_id)
            return bool(found)

        await eventually(arrived)
        assert len(found) == 1
        return found[0]

    async def assessments(self, request_id: UUID) -> list[AccessAssessed]:
        found = []
        for record in await read_topic(self.servers.kafka, AccessAssessed.topic):
            if str(request_id).encode() not in (record.value or b""):
                continue
            sent = json.loads(record.value or b"")
            mac = sent.pop("mac")
            key = self.servers.secrets["risk_evaluator"]["assessment_keys"][0]
            assert mac == base64url(hmac.digest(b64decode(key["secret"]), canonical(sent), "sha256"))
            incoming = read(record, {AccessAssessed.ce_type: AccessAssessed}, frozenset({AccessAssessed.ce_type}))
            assert incoming is not None
            found.append(incoming.event)
        return found

    def granted(
        self, assessed: AccessAssessed, *, at: datetime | None = None, signer: Signer | None = None, **over: Any
    ) -> Outgoing:
        """Return the verifier's decision on a request; `over` changes what is signed."""
        made = at or clock()
        claims: dict[str, Any] = {
            "request_id": assessed.request_id,
            "user_id": assessed.user_id,
            "account_id": assessed.account_id,
            "action": assessed.action,
            "digest": assessed.digest,
            "req": assessed.req,
            "now": made,
        } | over
        event = an_access_granted(
            request_id=assessed.request_id,
            user_id=assessed.user_id,
            account_id=assessed.account_id,
            action=assessed.action,
            digest=assessed.digest,
            grant=(signer or self.signer).sign(claims_of(**claims)),
        )
        return outgoing(event, at=made)

    async def teach(self, assessed: AccessAssessed) -> None:
        """Grant a login and wait until its place is known."""
        await publish(self.servers.kafka, self.granted(assessed))

        async def known() -> bool:
            return any(row["place"] == assessed.place for row in await self.places(assessed.account_id))

        await eventually(known)

    async def places(self, account_id: UUID) -> list[asyncpg.Record]:
        """Return the account's places, through the view and as the role that the gateway has."""
        return await self.fetch(
            "SELECT * FROM risk_evaluator.known_place WHERE account_id = $1 ORDER BY place, taught_by",
            account_id,
            role="gateway",
        )

    async def dead_letter(self, key: UUID) -> str:
        """Wait for a dead letter whose record has this key, and return its cause."""
        rows: list[asyncpg.Record] = []

        async def kept() -> bool:
            rows[:] = await self.fetch("SELECT cause FROM dead_letter WHERE record_key = $1", str(key).encode())
            return bool(rows)

        await eventually(kept)
        return str(rows[0]["cause"])

    async def rows(self, account_id: UUID) -> list[list[asyncpg.Record]]:
        """Return everything that is held about an account."""
        return [
            await self.fetch(f"SELECT * FROM {table} WHERE account_id = $1 ORDER BY 1, 2, 3", account_id)
            for table in ("assessment", "place", "forgotten")
        ]

    async def read_again(self, account_id: UUID, *, backwards: bool) -> int:
        """Fold the account's records once more, as they lie on Kafka; return their number. Nothing may come of it."""
        db = await asyncpg.connect(self.servers.dsn_of("risk_evaluator"))
        count = 0
        try:
            for fold in self.folds:
                records = await read_topic(self.servers.kafka, fold.topic)
                parsed = [fold.parse(record) for record in records if record.key == str(account_id).encode()]
                events = [incoming for incoming in parsed if incoming is not None]
                count += len(events)
                for part in rounds(fold, events[::-1] if backwards else events):
                    folded = await absorb(db, fold, part)
                    assert not [*folded.due, *folded.dead, *folded.suspects]
        finally:
            await db.close()
        return count

    async def fetch(self, sql: str, *arguments: Any, role: str = "risk_evaluator") -> list[asyncpg.Record]:
        db = await asyncpg.connect(self.servers.dsn_of(role))
        try:
            return list(await db.fetch(sql, *arguments))
        finally:
            await db.close()


@asynccontextmanager
async def evaluating(servers: Servers, signer: Signer | None = None) -> AsyncIterator[Evaluator]:
    """Run a risk-evaluator; the folds that it runs are at hand too. `signer` signs its grants, else a new one does."""
    evaluator = Evaluator(servers) if signer is None else Evaluator(servers, signer)
    async with KeySite(evaluator.signer.jwk()) as site, evaluating_with(evaluator, site):
        yield evaluator


@asynccontextmanager
async def evaluating_with(evaluator: Evaluator, site: KeySite) -> AsyncIterator[Machine]:
    """Run a risk-evaluator that fetches the verifier's keys from `site`; yield what runs beside its routes."""

    @asynccontextmanager
    async def wire(frame: Frame[RiskEvaluatorSettings]) -> AsyncIterator[Parts]:
        async with SERVICE.wire(frame) as parts:
            evaluator.folds = parts.folds
            yield parts

    async with running(replace(SERVICE, wire=wire), evaluator.settings(site.url)) as machine:
        yield machine
