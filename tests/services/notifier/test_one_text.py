"""A challenge becomes one text, however often it is read and whoever reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from countersign.contract import Client, Summary
from countersign.runtime.messages.record import Outgoing
from tests.support.events import outgoing
from tests.support.kafka import eventually, publish
from tests.support.notifier import Neighbourhood, a_neighbourhood
from tests.support.notifier_offsets import caught_up, rewind

if TYPE_CHECKING:
    from tests.support.servers import Servers
    from tests.support.sns_stand_in import SnsStandIn

pytestmark = pytest.mark.servers

CHALLENGES = "access.challenges.v1"


async def texts_of_moto(url: str, code: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/moto-api/data.json") as answer:
        held = await answer.json(content_type=None)
    return [text for text in held.get("sns", {}).get("SMS", []) if code in text["message"]]


async def test_a_challenge_becomes_a_text_on_the_phone(servers: Servers) -> None:
    """On the local SNS: to the number and no other, told as accepted, and the sealed code is forgotten."""
    async with a_neighbourhood(servers, servers.sns_url) as near, near.notifier():
        person = await near.person()
        challenge = near.challenge(
            person, action="export", summary=Summary(what="Newsletter", rows=500, format="csv"), client=Client(ip="::1")
        )
        await near.issue(challenge)
        (row,) = await near.settled(challenge)
        assert (row["state"], row["event"], row["segments"], row["country"]) == ("accepted", None, 1, "SE")
        (text,) = await texts_of_moto(servers.sns_url, challenge.code)
        assert text["phone_number"] == person.number
        assert text["message"] == (
            f'Countersign: {challenge.code} is your export code for "Newsletter", 500 contacts, csv, from ::1. '
            f"It expires in 5 minutes. Never share it.\n@app.example.com #{challenge.code}"
        )
        (told,) = await near.deliveries(challenge)
        assert told["type"] == "countersign.sms.accepted.v1"
        assert told["provider_message_id"]
        assert (told["provider"], told["segments"], told["reason"]) == ("sns", 1, None)


async def test_what_sns_is_told_beside_the_text(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Transactional, in the user's language, with the sender id and the highest price of the settings."""
    held = near.servers.secrets["notifier"]["sns"]
    over = {"endpoint_url": sns.url, "sender_id": "Example", "price_usd_max": "0.1"}
    async with near.notifier(sns={**held, **over}):
        challenge = near.challenge(await near.person(), client=Client(ip=None, locale="de-AT"))
        await near.issue(challenge)
        await near.settled(challenge)
    (text,) = sns.with_code(challenge.code)
    assert text.attributes == {
        "AWS.SNS.SMS.SMSType": "Transactional",
        "AWS.SNS.SMS.SenderID": "Example",
        "AWS.SNS.SMS.MaxPrice": "0.10000",
    }
    assert text.body.startswith(f"Countersign: {challenge.code} ist Ihr Code zum Anmelden. ")


async def test_a_challenge_that_is_read_again_sends_nothing(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Twenty times on the topic, and then the whole topic from its start by the same group."""
    people = [await near.person() for _ in range(10)]
    challenges = [near.challenge(person) for person in people]
    async with near.notifier():
        for _ in range(20):
            await near.issue(*challenges)
        await near.settled(*challenges)
        await caught_up(near.servers, CHALLENGES)
    before = await near.settled(*challenges)
    await rewind(near.servers, CHALLENGES)
    async with near.notifier():
        await caught_up(near.servers, CHALLENGES)
    assert near.sent(sns, *challenges) == sorted(challenge.code for challenge in challenges)
    assert await near.settled(*challenges) == before
    assert len(await near.deliveries(*challenges)) == len(challenges)


async def test_two_notifiers_at_work_text_once(near: Neighbourhood, sns: SnsStandIn) -> None:
    """200 challenges, each twice on the topic, SNS slow: 200 texts, 200 events, never over 64 in flight a process."""
    sns.seconds = 0.2
    person = [await near.person() for _ in range(20)]
    challenges = [near.challenge(person[n % 20]) for n in range(200)]
    async with near.notifier("t0"), near.notifier("t1"):
        await near.issue(*challenges, *challenges)
        rows = await near.settled(*challenges, within=60)
        told = await near.deliveries(*challenges)
    assert {row["state"] for row in rows} == {"accepted"}
    assert near.sent(sns, *challenges) == sorted(challenge.code for challenge in challenges)
    assert len(told) == 200
    assert sns.in_flight_max <= 128


@pytest.mark.parametrize(
    "change", [{"send": 2}, {"summary": {"what": "all"}}, {"expires_at": "2036-01-01T00:00:00Z"}, {"number_id": None}]
)
async def test_a_tampered_challenge_is_a_dead_letter_and_no_text(
    near: Neighbourhood, sns: SnsStandIn, change: dict[str, Any]
) -> None:
    """A thief's number, another send, summary or expiry; the real challenge is texted all the same."""
    thief, victim = await near.person(), await near.person()
    challenge = near.challenge(victim)
    change = {"number_id": str(thief.number_id), "user_id": str(thief.user_id)} if "number_id" in change else change
    record = outgoing(challenge.event, source="verifier")
    value = json.dumps(json.loads(record.value) | change).encode()
    forged = Outgoing(record.event_id, record.topic, record.key, value, record.headers)
    async with near.notifier():
        await publish(near.servers.kafka, forged, record)
        await near.settled(challenge)

        async def letter() -> Any:
            return await near.db.fetchrow("SELECT cause FROM notifier.dead_letter WHERE value = $1", value)

        await eventually(letter)
        assert (await letter())["cause"] == "sealed_code: does not open with the other fields as they are"
    assert [text.number for text in sns.with_code(challenge.code)] == [victim.number]


async def test_the_same_key_with_other_contents_is_a_conflict(near: Neighbourhood, sns: SnsStandIn) -> None:
    """Sealed rightly, but not the text that was asked for first."""
    person = await near.person()
    first = near.challenge(person)
    second = near.challenge(person, request_id=first.event.request_id)
    async with near.notifier():
        await near.issue(first)
        await near.settled(first)
        await near.issue(second)

        async def letter() -> Any:
            return await near.db.fetchrow(
                "SELECT cause FROM notifier.dead_letter WHERE value = $1", second.event.model_dump_json().encode()
            )

        await eventually(letter)
        assert (await letter())["cause"] == "challenge_id, send: known with other contents"
    assert near.sent(sns, first, second) == [first.code]


async def test_a_late_challenge_is_suppressed(near: Neighbourhood, sns: SnsStandIn) -> None:
    """With under 5 s left, or none: no text, one event that says so."""
    person = await near.person()
    challenges = [near.challenge(person, life=4), near.challenge(person, life=-600)]
    async with near.notifier():
        await near.issue(*challenges)
        told = await near.deliveries(*challenges)
    assert near.sent(sns, *challenges) == []
    assert [(event["type"], event["reason"]) for event in told] == [("countersign.sms.suppressed.v1", "late")] * 2
    assert [event["retry_at"] is not None for event in told] == [True, True]
