"""Asked over Kafka, answered over Kafka: each outcome, each conflict, and what is off contract."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.evaluator import evaluating
from tests.support.events import a_client, an_access_requested, clock, outgoing
from tests.support.kafka import publish, publish_raw
from tests.support.members import Member, a_member

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


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
            assert assessed.policy_version.startswith("local-2+")
        stale = an_access_requested(account_id=owner.account_id, user_id=owner.user_id)
        await publish(servers.kafka, outgoing(stale, at=clock() - timedelta(minutes=3)))
        assert (await evaluator.assessment(stale.request_id)).reasons == ["request.stale", "ip.new"]


async def test_another_request_under_the_same_id_is_a_dead_letter(servers: Servers) -> None:
    """The first stands and is answered once; the same event again changes nothing; nobody else waits."""
    async with evaluating(servers) as evaluator:
        member, other = await a_member(servers), await a_member(servers)
        request = an_access_requested(account_id=member.account_id, user_id=member.user_id)
        conflict = request.model_copy(update={"digest": "B" * 43})
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
