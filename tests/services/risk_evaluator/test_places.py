"""Places on real servers: taught by granted logins and by nothing else, forgotten for good."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.evaluator import evaluating
from tests.support.events import a_client, a_places_forgotten, clock, outgoing
from tests.support.grants import Signer
from tests.support.kafka import eventually, publish
from tests.support.members import a_member

if TYPE_CHECKING:
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


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


async def test_reading_every_topic_again_changes_nothing(servers: Servers) -> None:
    """All that was folded, folded again as it lies on Kafka, in order and backwards: the same rows and no output."""
    async with evaluating(servers) as evaluator:
        member = await a_member(servers)
        first = await evaluator.ask(member)
        await evaluator.teach(first)
        second = await evaluator.ask(member, client=a_client(ip="203.0.113.8"))
        await evaluator.teach(second)
        event = a_places_forgotten(account_id=member.account_id, place=first.place)
        await publish(servers.kafka, outgoing(event, at=clock() + timedelta(seconds=1)))

        async def one_left() -> bool:
            return [row["place"] for row in await evaluator.places(member.account_id)] == [second.place]

        await eventually(one_left)
        before = await evaluator.rows(member.account_id)
        assert [len(rows) for rows in before] == [2, 1, 1]
        for backwards in (False, True):
            assert await evaluator.read_again(member.account_id, backwards=backwards) == 4 + 1
            assert await evaluator.rows(member.account_id) == before
