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
        ("request_id", "none", "request_id: expected a UUID; came a string of 4 characters"),
        ("action", "logout", "action: expected one of 'login'"),
        ("digest", "short", "digest: expected a string"),
        ("number_id", "", "number_id: expected a UUID; came a string of 0 characters"),
    ]
    async with evaluating(servers) as evaluator:
        for name, value, cause in wrong:
            request = an_access_requested()
            good = outgoing(request)
            sent = {k: v for k, v in (json.loads(good.value) | {name: value}).items() if v is not None}
            await publish_raw(servers.kafka, good.topic, good.key, json.dumps(sent).encode(), good.headers)
            assert (await evaluator.dead_letter(request.account_id)).startswith(cause)
        assert (await evaluator.ask(await a_member(servers))).reasons == ["ip.new"]


ODD: list[tuple[dict[str, Any], dict[str, bytes | None], str]] = [
    ({"client": {"ip": "203.0.113.7", "locale": "en_AU"}}, {}, "ip.new"),
    ({"client": {"ip": "203.0.113.79:51000"}}, {}, "ip.new"),
    ({"client": {"ip": "[2001:db8::2]:443"}}, {}, "ip.new"),
    ({"client": {"ip": "unknown"}}, {}, "ip.absent"),
    ({"client": {"ip": 3405803783, "locale": {}}}, {}, "ip.absent"),
    ({"client": None}, {}, "ip.absent"),
    ({"summary": None}, {}, "ip.new"),
    ({"summary": {"what": "x" * 61, "rows": -1, "format": "two\nlines"}}, {}, "ip.new"),
    ({"summary": {"what": "x" * 201}}, {}, "ip.new"),
    ({"summary": {"what": "Party \ud83c"}}, {}, "ip.new"),
    ({}, {"content-type": None, "ce_source": None, "ce_id": None, "traceparent": b"none"}, "ip.new"),
]


async def test_odd_but_honest_input_is_assessed(servers: Servers) -> None:
    """Not a dead letter: the person with the right password is asked for a code. What leaves is clean and signed."""
    async with evaluating(servers) as evaluator:
        member, asked = await a_member(servers), {}
        for fields, headers, reason in ODD:
            request = an_access_requested(account_id=member.account_id, user_id=member.user_id)
            good = outgoing(request)
            value = json.dumps(json.loads(good.value) | fields).encode()
            time = dict(good.headers)["ce_time"].decode().replace("T", "t").replace("Z", "z").encode()
            sent = dict(good.headers) | {"ce_time": time} | headers
            kept = [(name, each) for name, each in sent.items() if each is not None]
            await publish_raw(servers.kafka, good.topic, good.key, value, kept)
            asked[request.request_id] = reason
        found = {each: (await evaluator.assessment(each)).reasons for each in asked}
        assert found == {each: [reason] for each, reason in asked.items()}
