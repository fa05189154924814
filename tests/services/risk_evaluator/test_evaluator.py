"""The risk-evaluator on real servers: asked over Kafka, answered over Kafka, taught by signed grants."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import asyncpg
import pytest

from countersign.contract import AccessAssessed, base64url, canonical
from countersign.runtime.cloudevents import read
from countersign.runtime.settings import KafkaSettings
from deploy.local.checkout import CHECKOUT
from services.risk_evaluator.wiring import SERVICE, RiskEvaluatorSettings
from tests.support.events import (
    a_client,
    a_places_forgotten,
    an_access_granted,
    an_access_requested,
    clock,
    outgoing,
)
from tests.support.frame import running
from tests.support.grants import KeySite, Signer, claims_of
from tests.support.kafka import eventually, publish, publish_raw, read_topic
from tests.support.members import Member, a_member

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from uuid import UUID

    from countersign.contract import AccessRequested
    from countersign.runtime.record import Outgoing
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@dataclass
class Evaluator:
    """A running risk-evaluator, and the verifier's part of the talk with it."""

    servers: Servers
    signer: Signer = field(default_factory=lambda: Signer(key_id=f"grant-{uuid4().hex[:12]}"))

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

    async def fetch(self, sql: str, *arguments: Any, role: str = "risk_evaluator") -> list[asyncpg.Record]:
        db = await asyncpg.connect(self.servers.dsn_of(role))
        try:
            return list(await db.fetch(sql, *arguments))
        finally:
            await db.close()


@asynccontextmanager
async def evaluating(servers: Servers) -> AsyncIterator[Evaluator]:
    evaluator = Evaluator(servers)
    async with KeySite(evaluator.signer.jwk()) as site, running(SERVICE, evaluator.settings(site.url)):
        yield evaluator


async def test_each_action_gets_its_assessment(servers: Servers) -> None:
    """Allow, challenge and deny, with reasons and everything the verifier needs."""
    async with evaluating(servers) as evaluator:
        owner = await a_member(servers, role="owner")
        free = await a_member(servers, two_factor=False)
        numberless = await a_member(servers, number=None)
        held = await a_member(servers, held_for=timedelta(hours=1))
        cases: list[tuple[Member, dict[str, Any], str]] = [
            (owner, {}, "challenge ip.new"),
            (owner, {"client": a_client(ip=None)}, "challenge ip.absent"),
            (owner, {"action": "export"}, "challenge export.always"),
            (owner, {"action": "confirm_number", "number_id": owner.number_id}, "challenge action.always"),
            (owner, {"action": "confirm_number", "number_id": free.number_id}, "deny action.always number.unknown"),
            (free, {}, "allow two_factor.off"),
            (numberless, {}, "deny ip.new number.missing"),
            (held, {"action": "export"}, "deny export.always number.recent"),
            (owner, {"account_id": free.account_id}, "deny member.unknown"),
            (owner, {"user_id": uuid4()}, "deny member.unknown"),
        ]
        for member, over, says in cases:
            assessed = await evaluator.ask(member, **over)
            assert f"{assessed.outcome} {' '.join(assessed.reasons)}" == says
            assert assessed.policy_version.startswith("local-1+")
        stale = an_access_requested(account_id=owner.account_id, user_id=owner.user_id)
        await publish(servers.kafka, outgoing(stale, at=clock() - timedelta(minutes=3)))
        assert (await evaluator.assessment(stale.request_id)).reasons == ["request.stale", "ip.new"]


async def test_a_granted_login_teaches_its_place(servers: Servers) -> None:
    """M2: the address counts for the account, a colleague's login included, and for no other account."""
    async with evaluating(servers) as evaluator:
        owner = await a_member(servers, role="owner")
        colleague = await a_member(servers, account_id=owner.account_id)
        stranger = await a_member(servers)
        first = await evaluator.ask(owner)
        assert first.reasons == ["ip.new"]
        await evaluator.teach(first)
        for member, reason in [(owner, "ip.known"), (colleague, "ip.known"), (stranger, "ip.new")]:
            assert (await evaluator.ask(member)).reasons == [reason]
        elsewhere = await evaluator.ask(owner, client=a_client(ip="203.0.113.8"))
        assert (elsewhere.reasons, elsewhere.place) == (["ip.new"], "203.0.113.8/32")
        mapped = await evaluator.ask(owner, client=a_client(ip="::ffff:203.0.113.7"))
        assert (mapped.reasons, mapped.place_known) == (["ip.known"], True)


async def test_a_login_without_two_factor_has_used_the_account_too(servers: Servers) -> None:
    """Turning it on later does not make strangers of everybody's computers; an export teaches nothing."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers, two_factor=False)
        export = await evaluator.ask(member, action="export", client=a_client(ip="203.0.113.9"))
        await publish(servers.kafka, evaluator.granted(export))
        await evaluator.teach(await evaluator.ask(member))
        assert [row["place"] for row in await evaluator.places(member.account_id)] == ["203.0.113.7/32"]


async def test_a_forgotten_place_stays_forgotten(servers: Servers) -> None:
    """The old grant, published again, brings nothing back; a new one does."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        first = await evaluator.ask(member)
        earlier = evaluator.granted(first)
        await evaluator.teach(first)
        forgotten = a_places_forgotten(account_id=member.account_id)
        await publish(servers.kafka, outgoing(forgotten, at=clock() + timedelta(seconds=1)))

        async def gone() -> bool:
            return not await evaluator.places(member.account_id)

        await eventually(gone)
        await publish(servers.kafka, earlier)
        again = await evaluator.ask(member)
        assert again.reasons == ["ip.new"]
        later = evaluator.granted(again, at=clock() + timedelta(seconds=2))
        await publish(servers.kafka, later)

        async def back() -> bool:
            return bool(await evaluator.places(member.account_id))

        await eventually(back)
        assert (await evaluator.ask(member)).reasons == ["ip.known"]


async def test_one_place_of_one_user_is_forgotten_and_no_other(servers: Servers) -> None:
    """Others of the account, and other places, stay."""
    async with evaluating(servers) as evaluator:
        owner = await a_member(servers, role="owner")
        colleague = await a_member(servers, account_id=owner.account_id)
        for member, ip in [(owner, "203.0.113.7"), (owner, "203.0.113.8"), (colleague, "203.0.113.7")]:
            await evaluator.teach(await evaluator.ask(member, client=a_client(ip=ip)))

        async def all_there() -> bool:
            return len(await evaluator.places(owner.account_id)) == 3

        await eventually(all_there)
        event = a_places_forgotten(account_id=owner.account_id, user_id=owner.user_id, place="203.0.113.7/32")
        await publish(servers.kafka, outgoing(event, at=clock() + timedelta(seconds=1)))

        async def one_gone() -> bool:
            left = {(row["place"], row["taught_by"]) for row in await evaluator.places(owner.account_id)}
            return left == {("203.0.113.8/32", owner.user_id), ("203.0.113.7/32", colleague.user_id)}

        await eventually(one_gone)


@pytest.mark.parametrize(
    ("forged", "cause"),
    [
        ({"signer": Signer()}, "key_id: not in the ring jwks"),
        ({"user_id": uuid4()}, "grant: sub: "),
        ({"request_id": uuid4()}, "grant: jti: "),
        ({"action": "export"}, "grant: act: "),
        ({"digest": "A" * 43}, "grant: dig: "),
        ({"aud": "somebody else"}, "grant: aud: "),
        ({"iat": 1, "exp": 301}, "grant: iat: "),
    ],
)
async def test_a_forged_decision_teaches_nothing(servers: Servers, forged: dict[str, Any], cause: str) -> None:
    """Whoever may write to the topic still has no key, and a real grant fits one login."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        assessed = await evaluator.ask(member)
        await publish(servers.kafka, evaluator.granted(assessed, **forged))
        assert (await evaluator.dead_letter(member.account_id)).startswith(cause)
        assert not await evaluator.places(member.account_id)


async def test_another_request_under_the_same_id_is_a_dead_letter(servers: Servers) -> None:
    """The first stands and is answered once; the same event again changes nothing; nobody else waits."""
    async with evaluating(servers) as evaluator:
        member, other = await a_member(servers), await a_member(servers)
        request = an_access_requested(account_id=member.account_id, user_id=member.user_id)
        conflict = _with(request, digest="B" * 43)
        await publish(servers.kafka, *(outgoing(event) for event in (request, conflict, request, request)))
        assert (await evaluator.dead_letter(member.account_id)).startswith("request_id: assessed before")
        await evaluator.ask(other)
        (assessed,) = await evaluator.assessments(request.request_id)
        assert assessed.digest == request.digest


async def test_what_is_off_contract_is_told_by_field(servers: Servers) -> None:
    """The gateway's developer reads which field, what was expected and the shape of what came; others go on."""
    wrong: list[tuple[str, object, str]] = [
        ("client", {"ip": "999.1.1.1"}, "client.ip: expected an IP address; came a string of 9 characters"),
        ("client", {"ip": "fe80::1%eth0"}, "client.ip: expected an IP address without a zone"),
        ("request_id", "none", "request_id: expected a UUID; came a string of 4 characters"),
        ("action", "logout", "action: expected one of 'login'"),
        ("digest", "short", "digest: expected a string"),
        ("summary", {"what": "two\nlines"}, "summary.what: expected text without control characters"),
        ("summary", None, "summary: missing"),
    ]
    async with evaluating(servers) as evaluator:
        for name, value, cause in wrong:
            request = an_access_requested()
            good = outgoing(request)
            sent = {k: v for k, v in (json.loads(good.value) | {name: value}).items() if v is not None}
            await publish_raw(servers.kafka, good.topic, good.key, json.dumps(sent).encode(), good.headers)
            assert (await evaluator.dead_letter(request.account_id)).startswith(cause)
        assert (await evaluator.ask(await a_member(servers))).reasons == ["ip.new"]


def _with(request: AccessRequested, **over: Any) -> AccessRequested:
    return request.model_copy(update=over)
