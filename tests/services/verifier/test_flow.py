"""From an assessment to each of its ends, on real servers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from countersign.client.grant import Expected
from countersign.client.grants import Grants
from countersign.runtime.retention import apply
from services.verifier.retention import RULES
from tests.support.events import an_sms_accepted, an_sms_refused, an_sms_suppressed, an_sms_unknown, clock
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.contract import AccessAssessed
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers
NEW = {"outcome": "challenge", "reasons": ["ip.new"]}
KNOWN = {"outcome": "allow", "reasons": ["ip.known"], "place_known": True}


async def test_a_code_opens_a_login(verifier: VerifierUnderTest) -> None:
    """Challenged, texted, answered, granted: by HTTP and on the topic alike, and checked offline."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    shown = (await verifier.state(event.request_id))["challenge"]
    assert (shown["number_hint"], shown["tries_left"], shown["text"]) == ("+61 •••••••06", 5, "sending")
    reply = await verifier.answer(challenge_id, await verifier.code(challenge_id))
    assert (reply["status"], reply["verdict"]) == (200, "accepted")
    decision = await verifier.decision(event.request_id)
    assert (decision.grant, decision.method, decision.number_id) == (reply["grant"], "sms", member.number_id)
    state = await verifier.state(event.request_id, past=True)
    assert (state["state"], state["grant"]) == ("granted", reply["grant"])
    async with Grants(f"{verifier.url}/.well-known/jwks.json") as grants:
        grant = await grants.check(reply["grant"], _expected(event), clock())
    assert (grant.method, grant.request_id) == ("sms", event.request_id)


async def test_a_known_place_gets_its_grant_without_a_code(verifier: VerifierUnderTest) -> None:
    """The floor honours `ip.known`."""
    event = await verifier.assess(await verifier.member(), **KNOWN)
    state = await verifier.state(event.request_id, wait=10)
    assert (state["state"], state["challenge"]) == ("granted", None)
    decision = await verifier.decision(event.request_id)
    assert (decision.method, decision.challenge_id, decision.number_id) == ("none", None, None)


async def test_wrong_answers_count_down_to_over(verifier: VerifierUnderTest) -> None:
    """The claimant learns the tries left, then that it is over and nothing else."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    told = [await verifier.answer(challenge_id, _wrong(code)) for _ in range(5)]
    assert [(reply["verdict"], reply["tries_left"]) for reply in told] == [("wrong", n) for n in (4, 3, 2, 1, 0)]
    over = await verifier.answer(challenge_id, code)
    assert (over["status"], over["verdict"], over["grant"], over["tries_left"]) == (200, "over", None, 0)
    state = await verifier.state(event.request_id)
    assert (state["state"], state["reason"]) == ("denied", "code.exhausted")


async def test_time_runs_out_by_the_databases_clock(verifier: VerifierUnderTest) -> None:
    """Nobody has to ask: the end comes by itself, and whoever waits for it is told."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    waiting = asyncio.ensure_future(verifier.state(event.request_id, wait=10, past=True))
    await verifier.db.execute(
        "UPDATE verifier.challenge SET expires_at = clock_timestamp() WHERE challenge_id = $1", challenge_id
    )
    state = await waiting
    assert (state["state"], state["reason"]) == ("denied", "code.expired")
    decision = await verifier.decision(event.request_id)
    assert (decision.reason, decision.challenge_id) == ("code.expired", challenge_id)


async def test_giving_up_is_an_end(verifier: VerifierUnderTest) -> None:
    """Twice is as good as once; after another end it is refused."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    assert [(await verifier.cancel(challenge_id))["status"] for _ in range(2)] == [204, 204]
    assert (await verifier.decision(event.request_id)).reason == "cancelled"
    _, answered = await verifier.challenged(await verifier.member())
    await verifier.answer(answered, await verifier.code(answered))
    assert (await verifier.cancel(answered))["status"] == 409


@pytest.mark.parametrize(
    ("build", "text", "reason"),
    [
        (an_sms_accepted, "accepted", None),
        (an_sms_unknown, "unknown", None),
        (an_sms_refused, "refused", "sms.refused"),
        (an_sms_suppressed, "suppressed", "sms.suppressed"),
    ],
)
async def test_what_became_of_the_text_is_shown(
    verifier: VerifierUnderTest, build: Any, text: str, reason: str | None
) -> None:
    """A text that will never arrive ends its challenge, with the time to come back where there is one."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    retry_at = clock() + timedelta(minutes=7) if text == "suppressed" else None
    delivery = build(
        challenge_id=challenge_id,
        account_id=member.account_id,
        user_id=member.user_id,
        number_id=member.number_id,
        retry_at=retry_at,
    )
    await verifier.publish(delivery, delivery)

    async def shown() -> bool:
        return bool((await verifier.state(event.request_id))["challenge"]["text"] == text)

    await eventually(shown)
    state = await verifier.state(event.request_id)
    assert (state["state"], state["reason"]) == (("denied", reason) if reason else ("challenged", None))
    assert (state["retry_at"] is not None) == (retry_at is not None)


async def test_who_waits_is_told_at_once(verifier: VerifierUnderTest) -> None:
    """300 wait in one process on a pool of eight; each gets its answer when it is there."""
    member = await verifier.member(two_factor=False)
    events = [verifier.assessment(member, **KNOWN) for _ in range(60)]
    waiting = [asyncio.ensure_future(verifier.state(event.request_id, wait=20)) for event in events for _ in range(5)]
    await asyncio.sleep(0.2)
    await verifier.publish(*events)
    states = await asyncio.gather(*waiting)
    assert {state["state"] for state in states} == {"granted"}


async def test_what_was_never_assessed_is_not_found(verifier: VerifierUnderTest) -> None:
    """After the wait, not before; a challenge is told as it stands when the wait for its end is over."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert (await verifier.state(uuid4(), wait=0.5))["status"] == 404
    assert loop.time() - began >= 0.5
    event, _ = await verifier.challenged(await verifier.member())
    assert (await verifier.state(event.request_id, wait=0.2, past=True))["state"] == "challenged"


async def test_activity_shows_each_request_once(verifier: VerifierUnderTest) -> None:
    """As the gateway lists it: open, granted, or why not."""
    member = await verifier.member()
    await verifier.challenged(member)
    granted = await verifier.assess(member, **KNOWN)
    denied = await verifier.assess(member, outcome="deny", reasons=["number.missing"])
    for event in (granted, denied):
        await verifier.state(event.request_id, wait=10)
    rows = await verifier.db.fetch("SELECT * FROM verifier.activity WHERE account_id = $1", member.account_id)
    assert sorted(row["outcome"] for row in rows) == ["challenged", "granted", "number.missing"]
    assert {row["place"] for row in rows} == {granted.place}


async def test_no_code_lies_in_a_table(verifier: VerifierUnderTest) -> None:
    """Of a whole challenge with two texts, searched row by row; a planted one is found."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    await _age_texts(verifier, challenge_id, 31)
    await verifier.resend(challenge_id)
    codes = [await verifier.code(challenge_id, send) for send in (1, 2)]
    await verifier.answer(challenge_id, _wrong(codes[0]))
    await verifier.answer(challenge_id, codes[1])
    search = """
        SELECT count(*) FROM (
            SELECT to_jsonb(c) - 'request_id' AS held FROM verifier.challenge c WHERE challenge_id = $1
            UNION ALL SELECT to_jsonb(s) FROM verifier.send s WHERE challenge_id = $1
            UNION ALL SELECT to_jsonb(a) FROM verifier.answer a WHERE challenge_id = $1
            UNION ALL SELECT to_jsonb(d) FROM verifier.decision d WHERE request_id = $2
            UNION ALL SELECT jsonb_build_object('planted', $4::text)) AS rows
         WHERE held::text ~ ('(^|[^0-9A-Za-z.+_-])' || $3 || '($|[^0-9A-Za-z_-])')
    """
    for code in codes:
        assert await verifier.db.fetchval(search, challenge_id, event.request_id, code, "") == 0
        assert await verifier.db.fetchval(search, challenge_id, event.request_id, code, code) == 1


async def test_what_is_older_than_any_topic_is_forgotten(verifier: VerifierUnderTest) -> None:
    """With all that hangs on it; the user's failures stay."""
    member = await verifier.member()
    event, challenge_id = await verifier.challenged(member)
    await verifier.answer(challenge_id, _wrong(await verifier.code(challenge_id)))
    await verifier.cancel(challenge_id)
    await verifier.db.execute(
        "UPDATE verifier.request SET taken_at = now() - interval '41 days' WHERE request_id = $1", event.request_id
    )
    async with verifier.db.acquire() as db, db.transaction():
        await db.execute("SET LOCAL search_path = verifier")
        await apply(db, RULES)
    assert (await verifier.state(event.request_id))["status"] == 404
    left = await verifier.db.fetchval(
        "SELECT failures FROM verifier.counter WHERE user_id = $1 AND NOT place_known", member.user_id
    )
    assert left == 1


def _expected(event: AccessAssessed) -> Expected:
    return Expected(
        action=event.action,
        request_id=event.request_id,
        user_id=event.user_id,
        account_id=event.account_id,
        digest=event.digest,
        req=event.req,
    )


def _wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def _age_texts(verifier: VerifierUnderTest, challenge_id: UUID, seconds: int) -> None:
    await verifier.db.execute(
        "UPDATE verifier.send SET issued_at = issued_at - $2::interval WHERE challenge_id = $1",
        challenge_id,
        timedelta(seconds=seconds),
    )
