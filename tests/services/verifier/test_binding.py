"""A code fits one challenge, and an assessment that is forged fits nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.events import an_access_assessed, an_sms_refused, clock, outgoing, signed
from tests.support.kafka import eventually, publish_raw

if TYPE_CHECKING:
    from countersign.contract import AccessAssessed
    from tests.support.verifier import Member, VerifierUnderTest

pytestmark = pytest.mark.servers
ALLOW: dict[str, Any] = {"outcome": "allow", "reasons": ["ip.known"], "place_known": True}


async def test_a_code_of_another_challenge_is_wrong(verifier: VerifierUnderTest) -> None:
    """Of the same user and action, of another action, of another user: each is just a wrong answer."""
    ada, bob = await verifier.member(), await verifier.member()
    _, login = await verifier.challenged(ada)
    _, again = await verifier.challenged(ada)
    _, export = await verifier.challenged(ada, action="export", reasons=["export.always"])
    _, others = await verifier.challenged(bob)
    right = await verifier.code(login)
    foreign = {await verifier.code(challenge_id) for challenge_id in (again, export, others)} - {right}
    for code in foreign:
        assert (await verifier.answer(login, code))["verdict"] == "wrong"
    assert (await verifier.answer(login, right))["verdict"] == "accepted"
    assert (await verifier.answer(export, right))["verdict"] in {"wrong", "accepted" if right in foreign else "wrong"}


async def test_a_grant_is_of_its_request_alone(verifier: VerifierUnderTest) -> None:
    """Two requests of one user never share a grant, whatever they are answered with."""
    ada = await verifier.member()
    grants = set()
    for _ in range(2):
        _, challenge_id = await verifier.challenged(ada)
        grants.add((await verifier.answer(challenge_id, await verifier.code(challenge_id)))["grant"])
    assert len(grants) == 2


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        (ALLOW, "granted"),
        (ALLOW | {"reasons": ["two_factor.off"]}, "challenged"),
        (ALLOW | {"place_known": False}, "challenged"),
        (ALLOW | {"action": "export"}, "challenged"),
        (ALLOW | {"action": "export", "reasons": ["two_factor.off"]}, "challenged"),
        (ALLOW | {"action": "change_number"}, "challenged"),
        (ALLOW | {"action": "manage_member"}, "challenged"),
        (ALLOW | {"action": "manager_act"}, "challenged"),
        (ALLOW | {"action": "confirm_number"}, "number.missing"),
        (ALLOW | {"action": "confirm_number", "number_id": uuid4()}, "number.unknown"),
        (ALLOW | {"requested_at": clock() - timedelta(minutes=30)}, "request.stale"),
        (ALLOW | {"requested_at": clock() + timedelta(hours=1)}, "request.future"),
    ],
)
async def test_the_floor_holds_against_an_evaluator_gone_wrong(
    verifier: VerifierUnderTest, over: dict[str, Any], expected: str
) -> None:
    """Rightly signed and wrongly judged: what the verifier reads itself decides."""
    event = await verifier.assess(await verifier.member(), **over)
    state = await verifier.state(event.request_id, wait=10)
    assert (state["reason"] or state["state"]) == expected


async def test_the_floor_knows_managers_holds_and_strangers(verifier: VerifierUnderTest) -> None:
    """Every login of an account manager, exports after a change, and whoever is no member."""
    manager = await verifier.member(role="account_manager", two_factor=False)
    held = await verifier.member(two_factor=False, held_for=timedelta(hours=1))
    free = await verifier.member(two_factor=False)
    nobody = await verifier.member()
    await verifier.db.execute(
        "UPDATE enrolment.member SET role = NULL, name = NULL, removed_at = now() WHERE user_id = $1", nobody.user_id
    )
    cases: list[tuple[Member, dict[str, Any], str]] = [
        (manager, {"reasons": ["two_factor.off"]}, "challenged"),
        (held, {"action": "export", "reasons": ["two_factor.off"]}, "number.recent"),
        (free, {"action": "export", "reasons": ["two_factor.off"]}, "granted"),
        (nobody, {}, "member.unknown"),
    ]
    for member, over, expected in cases:
        event = await verifier.assess(member, **(ALLOW | over))
        state = await verifier.state(event.request_id, wait=10)
        assert (state["reason"] or state["state"]) == expected


async def test_a_forged_assessment_is_a_dead_letter_and_nothing_else(verifier: VerifierUnderTest) -> None:
    """Another key, a changed outcome, a field added: kept with a cause, and no request is taken in."""
    member = await verifier.member()
    good = verifier.assessment(member)
    forged = [
        signed(good.model_copy(update={"request_id": uuid4(), **ALLOW}), b"x" * 32),
        verifier.assessment(member).model_copy(update=ALLOW),
        verifier.assessment(member).model_copy(update={"place_known": True}),
    ]
    await verifier.publish(*forged)
    for event in forged:
        assert await _cause(verifier, event) == ("off_contract", "mac: does not fit the other fields")
        assert (await verifier.state(event.request_id))["status"] == 404


async def test_an_unknown_key_is_waited_for_only_while_it_may_help(verifier: VerifierUnderTest) -> None:
    """Fresh: folded again until the key is there or a minute is over. Stale: a dead letter at once. Seen: nothing."""
    member = await verifier.member()
    fresh = signed(_of(member, key_id="tomorrow"), b"x" * 32)
    stale = signed(_of(member, key_id="tomorrow", requested_at=clock() - timedelta(minutes=5)), b"x" * 32)
    await verifier.publish(fresh, stale)
    assert (await _cause(verifier, fresh))[0] == "key_unknown"
    assert await _state(verifier, fresh) == "redrive"
    assert await _cause(verifier, stale) == (
        "off_contract",
        "key_id: of no key here, and the request is too old to wait for it",
    )
    seen, _ = await verifier.challenged(member)
    again = seen.model_copy(update={"key_id": "tomorrow"})
    last = verifier.assessment(member)
    await verifier.publish(again, last)
    await verifier.state(last.request_id, wait=10)
    letters = await verifier.db.fetchval(
        "SELECT count(*) FROM verifier.dead_letter WHERE position($1 IN convert_from(value, 'UTF8')) > 0",
        str(seen.request_id),
    )
    assert letters == 0


async def test_the_same_request_with_another_digest_is_a_conflict(verifier: VerifierUnderTest) -> None:
    """The first one counts, the second one is a dead letter."""
    member = await verifier.member()
    first, _ = await verifier.challenged(member)
    other = verifier.assessment(member, request_id=first.request_id, digest="e" * 43)
    await verifier.publish(other)
    kind, cause = await _cause(verifier, other)
    assert (kind, cause.split(":")[0]) == ("conflict", "request_id")


async def test_a_delivery_of_somebody_elses_challenge_is_a_dead_letter(verifier: VerifierUnderTest) -> None:
    """It closes nothing."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    forged = an_sms_refused(challenge_id=challenge_id)
    await verifier.publish(forged)
    assert (await _cause(verifier, forged))[0] == "off_contract"
    assert (await verifier.state(event.request_id))["state"] == "challenged"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"value": b"{nope"}, "value: expected JSON"),
        ({"value": b"[]"}, "value: expected"),
        ({"value": b"x" * 900_000}, "value: at most 65536 bytes"),
        ({"value": None}, "value: expected a JSON object"),
        ({"ce_type": b"countersign.access.assessed.v2"}, "header ce_type: expected countersign.access.assessed.v1"),
        ({"ce_type": b"countersign.access.guessed.v1"}, "header ce_type: expected one of"),
        ({"ce_type": None}, "header ce_type: missing"),
        ({"replace": (b'"login"', b'"log\\u0000in"')}, "action: expected one of"),
        ({"replace": (b'"outcome"', b'"outcme"')}, "outcome: missing"),
        ({"replace": (b'"place_known":false', b'"place_known":"no"')}, "place_known: expected true or false"),
    ],
)
async def test_each_kind_of_bad_record_is_told(verifier: VerifierUnderTest, change: dict[str, Any], cause: str) -> None:
    """Kept with its cause; the next record is folded as if nothing had been."""
    member = await verifier.member()
    record = outgoing(verifier.assessment(member))
    headers = dict(record.headers)
    if "ce_type" in change:
        headers["ce_type"] = change["ce_type"]
    value = change["value"] if "value" in change else record.value.replace(*change.get("replace", (b"", b"")))
    kept = await publish_raw(
        verifier.servers.kafka,
        record.topic,
        record.key,
        value,
        [(name, held) for name, held in headers.items() if held is not None],
    )
    after = await verifier.assess(member)
    assert (await verifier.state(after.request_id, wait=10))["state"] == "challenged"
    told = await verifier.db.fetchval(
        'SELECT cause FROM verifier.dead_letter WHERE topic = $1 AND partition = $2 AND "offset" = $3',
        kept.topic,
        kept.partition,
        kept.offset,
    )
    assert told.startswith(cause), told


def _of(member: Any, **over: Any) -> AccessAssessed:
    return an_access_assessed(account_id=member.account_id, user_id=member.user_id, **over)


_LETTER = """
SELECT kind, cause, state FROM verifier.dead_letter
 WHERE position($1 IN convert_from(value, 'UTF8')) > 0 AND value_bytes < 65536
"""


async def _letter(verifier: VerifierUnderTest, event: Any) -> Any:
    found: list[Any] = []

    async def kept() -> bool:
        digest = getattr(event, "mac", None) or str(event.number_id)
        found[:] = await verifier.db.fetch(_LETTER, digest)
        return bool(found)

    await eventually(kept)
    return found[0]


async def _cause(verifier: VerifierUnderTest, event: Any) -> tuple[str, str]:
    row = await _letter(verifier, event)
    return row["kind"], row["cause"]


async def _state(verifier: VerifierUnderTest, event: Any) -> str:
    return str((await _letter(verifier, event))["state"])
