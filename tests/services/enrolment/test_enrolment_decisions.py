"""Accepted codes on real servers: which number they confirm, what is told of it, and what a forger gets."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from countersign.contract import NumberConfirmed, base64url, reader
from services.enrolment import changes
from services.enrolment.chain import broken_at
from tests.support.enrolment import Desk, fold_batch
from tests.support.events import a_member_set, an_access_denied, an_access_granted, clock, incoming, outgoing
from tests.support.grants import DENIAL_TYP, Signer, claims_of, denial_claims_of
from tests.support.kafka import eventually, publish, read_topic

if TYPE_CHECKING:
    from countersign.contract import AccessDenied, AccessGranted
    from tests.services.enrolment.conftest import Calls
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


def a_login(signer: Signer, account_id: UUID, user_id: UUID, number_id: UUID, **over: Any) -> AccessGranted:
    """Return the decision on a login with an accepted code, its grant signed."""
    event = an_access_granted(account_id=account_id, user_id=user_id, number_id=number_id)
    claims: dict[str, Any] = {
        "request_id": event.request_id,
        "user_id": user_id,
        "account_id": account_id,
        "action": "login",
        "digest": event.digest,
        "now": clock(),
    } | over
    return event.model_copy(update={"grant": signer.sign(claims_of(**claims))})


async def state_of(desk: Desk, number_id: UUID) -> str:
    state: str = await desk.db.fetchval("SELECT state FROM number WHERE number_id = $1", number_id)
    return state


async def test_the_first_accepted_code_confirms_the_given_number(desk: Desk) -> None:
    """It is told once, with the version and the head of the audit chain; the second code tells nothing."""
    account_id, user_id = await desk.account(two_factor=True)
    number_id = await desk.add_number(user_id, provided=timedelta(seconds=30))
    login = incoming(a_login(desk.signer, account_id, user_id, number_id))
    due, dead = await fold_batch(desk.db, desk.decisions, [login, login])
    assert dead == []
    assert await state_of(desk, number_id) == "confirmed"
    row = await desk.protection(user_id)
    assert row is not None
    assert (row["number_id"], row["number_state"]) == (number_id, "confirmed")
    told = NumberConfirmed.model_validate_json(due[0].value)
    assert len(due) == 1
    assert (told.version, told.user_id, told.number_id, told.actor.kind) == (1, user_id, number_id, "user")

    again, _ = await fold_batch(
        desk.db, desk.decisions, [incoming(a_login(desk.signer, account_id, user_id, number_id))]
    )
    assert again == []
    links = await changes.links_of(desk.db, account_id)
    assert broken_at(links) is None
    assert [(link.version, base64url(link.head)) for link in links] == [(1, told.chain_head)]


async def test_reading_decisions_again_changes_nothing(desk: Desk) -> None:
    """Invariant 10: nor does a code of a number that was replaced since confirm the one that came after it."""
    account_id, user_id = await desk.account(two_factor=True)
    first = await desk.add_number(user_id)
    batch = [incoming(a_login(desk.signer, account_id, user_id, first)), incoming(an_access_denied(user_id=user_id))]
    await fold_batch(desk.db, desk.decisions, batch)
    await desk.db.execute(
        "UPDATE phone_number SET state = 'reset', ended_at = clock_timestamp() WHERE number_id = $1", first
    )
    second = await desk.add_number(user_id, provided=timedelta(0))
    before = await desk.stored(account_id)
    due, dead = await fold_batch(desk.db, desk.decisions, batch)
    assert (due, dead) == ([], [])
    assert await desk.stored(account_id) == before
    assert await state_of(desk, second) == "provided"


async def test_two_accounts_and_two_users_of_one_in_a_batch(desk: Desk) -> None:
    """Versions count up without a gap, and the chain holds."""
    account_id, owner_id = await desk.account(two_factor=False)
    other_id, other_owner = await desk.account(two_factor=False)
    user_id = uuid4()
    await desk.fold(a_member_set(account_id=account_id, user_id=user_id))
    batch = [
        incoming(a_login(desk.signer, account, user, await desk.add_number(user)))
        for account, user in ((account_id, owner_id), (other_id, other_owner), (account_id, user_id))
    ]
    due, _ = await fold_batch(desk.db, desk.decisions, batch)
    versions = sorted((told.account_id, told.version) for told in map(_parsed, due))
    assert versions == sorted([(account_id, 1), (account_id, 2), (other_id, 1)])
    for account in (account_id, other_id):
        assert broken_at(await changes.links_of(desk.db, account)) is None


def _parsed(row: Any) -> NumberConfirmed:
    return NumberConfirmed.model_validate_json(row.value)


@pytest.mark.parametrize(
    ("over", "named"),
    [
        ({"jti": str(uuid4())}, "jti"),
        ({"sub": str(uuid4())}, "sub"),
        ({"acct": str(uuid4())}, "acct"),
        ({"act": "export"}, "act"),
        ({"dig": "A" * 43}, "dig"),
        ({"aud": "elsewhere"}, "aud"),
        ({"iss": "elsewhere"}, "iss"),
        ({"now": clock() - timedelta(hours=1)}, "iat"),
    ],
)
async def test_a_grant_of_something_else_is_a_dead_letter(desk: Desk, over: dict[str, Any], named: str) -> None:
    """The cause names the claim; the number stays as it was given."""
    account_id, user_id = await desk.account(two_factor=True)
    number_id = await desk.add_number(user_id)
    causes = await desk.fold(a_login(desk.signer, account_id, user_id, number_id, **over))
    assert len(causes) == 1
    assert causes[0].startswith(f"grant: {named}")
    assert await state_of(desk, number_id) == "provided"


async def test_a_forged_grant_and_a_foreign_number_id_are_dead_letters(desk: Desk) -> None:
    """Neither another key under the verifier's id nor the unsigned field confirms a number."""
    account_id, user_id = await desk.account(two_factor=True)
    number_id = await desk.add_number(user_id)
    forged = await desk.fold(a_login(Signer(), account_id, user_id, number_id))
    assert forged[0].startswith("grant: signature")
    foreign = await desk.fold(a_login(desk.signer, account_id, user_id, uuid4()))
    assert foreign[0].startswith("number_id")
    unknown_key = await desk.fold(a_login(Signer(key_id="grant-9"), account_id, user_id, number_id))
    assert unknown_key == ["key_id: not in the ring jwks"]
    assert await state_of(desk, number_id) == "provided"


async def test_a_code_that_can_have_gone_to_the_number_before_confirms_nothing(desk: Desk) -> None:
    """Changed a minute ago: the next code will."""
    account_id, user_id = await desk.account(two_factor=True)
    await desk.add_number(user_id, "replaced", provided=timedelta(days=1), ended=timedelta(minutes=1))
    number_id = await desk.add_number(user_id, provided=timedelta(minutes=1))
    assert await desk.fold(a_login(desk.signer, account_id, user_id, number_id)) == []
    assert await state_of(desk, number_id) == "provided"


async def test_a_decision_closes_our_own_request(desk: Desk) -> None:
    """Granted by its grant, or denied; a decision under its id on something else is a dead letter."""
    account_id, owner_id = await desk.account(two_factor=True)
    for granted in (True, False):
        wanted = await desk.ask_for(a_member_set(account_id=account_id), owner_id)
        request = await desk.db.fetchrow("SELECT * FROM request WHERE member_id = $1", wanted.user_id)
        assert request is not None
        fields = {name: request[name] for name in ("request_id", "account_id", "user_id", "action", "digest")}
        other = await desk.fold(an_access_denied(**(fields | {"digest": "A" * 43})))
        assert other == ["digest: not that of the request"]
        event = an_access_granted(**fields, grant=wanted.grant) if granted else a_denial(desk.signer, fields)
        assert await desk.fold(event) == []
        state = await desk.db.fetchval("SELECT state FROM request WHERE request_id = $1", request["request_id"])
        assert state == ("granted" if granted else "denied")


def a_denial(signer: Signer, fields: dict[str, Any]) -> AccessDenied:
    claims = denial_claims_of(**fields, now=clock(), reason="code.expired")
    return an_access_denied(**fields, proof=signer.sign(claims, typ=DENIAL_TYP))


async def test_a_forged_denial_closes_no_request(desk: Desk) -> None:
    """Without a proof, or with one of another key, it is a dead letter, and the request stays open."""
    account_id, owner_id = await desk.account(two_factor=True)
    wanted = await desk.ask_for(a_member_set(account_id=account_id), owner_id)
    request = await desk.db.fetchrow("SELECT * FROM request WHERE member_id = $1", wanted.user_id)
    assert request is not None
    fields = {name: request[name] for name in ("request_id", "account_id", "user_id", "action", "digest")}
    causes = [
        *await desk.fold(an_access_denied(**fields)),
        *await desk.fold(a_denial(Signer(desk.signer.key_id), fields)),
    ]
    assert [cause.partition(":")[0] for cause in causes] == ["proof", "proof"]
    state = await desk.db.fetchval("SELECT state FROM request WHERE request_id = $1", request["request_id"])
    assert state == "open"


async def test_through_kafka_a_member_and_a_code_end_on_the_settings_topic(
    desk: Desk, calls: Calls, servers: Servers
) -> None:
    """The whole service: a set becomes a member, an accepted code a confirmed number, told under the account's key."""
    account_id, user_id = uuid4(), uuid4()
    await publish(servers.kafka, outgoing(a_member_set(account_id=account_id, user_id=user_id, role="owner")))
    await eventually(lambda: desk.protection(user_id))
    number_id = await desk.add_number(user_id)
    await publish(servers.kafka, outgoing(a_login(desk.signer, account_id, user_id, number_id)))

    async def confirmed() -> bool:
        return await state_of(desk, number_id) == "confirmed"

    await eventually(confirmed)
    parse = reader(NumberConfirmed)

    async def told() -> bool:
        records = [one for one in await read_topic(servers.kafka, "account.settings.v1") if one.key is not None]
        mine = [parse(record) for record in records if record.key == str(account_id).encode()]
        return [one.event.number_id for one in mine if one is not None] == [number_id]

    await eventually(told)
    del calls
