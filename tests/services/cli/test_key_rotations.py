"""Keys of grants, numbers and assessments rotated and revoked while the services that use them are at work."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from countersign.cli.keys import rotating
from countersign.client import Expected, GrantRefusedError, Grants
from countersign.contract import challenge_id_of, req_of
from countersign.runtime.messages.cloudevents import value_of
from deploy.local.checkout import CHECKOUT
from services.exports.wiring import SERVICE as EXPORTS
from tests.services.exports.exporting import asking
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.frame import running
from tests.support.kafka import eventually, publish, read_topic
from tests.support.key_desk import KeyDesk, a_key_desk
from tests.support.notifier import ADD_MEMBER, Person
from tests.support.servers import own_servers
from tests.support.sns_stand_in import sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from countersign.contract import AccessRequested
    from tests.services.exports.exporting import Customer, Exporting
    from tests.support.servers import Servers

    OpenDesk = Callable[..., AbstractAsyncContextManager[KeyDesk]]

pytestmark = pytest.mark.servers
DOING = ("--reason", "yearly", "--who", "ann@bastion", "--execute")
# While the new key is known and not used yet, something is done with the old one.
MEANWHILE = ("--active-in", "10s", "--within", "20s", *DOING)
STRANGER = "+61491570006"  # reserved for fiction by the Australian authority


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def apart() -> AsyncIterator[Servers]:
    """Servers of its own: no other test's services could use what is made here with new keys."""
    async with own_servers() as found:
        yield found


@pytest.fixture
def open_desk(
    apart: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> OpenDesk:
    @asynccontextmanager
    async def opened(*services: str) -> AsyncIterator[KeyDesk]:
        async with sns_stand_in() as sns, a_key_desk(apart, sns, tmp_path, monkeypatch, capsys, services) as desk:
            yield desk

    return opened


async def export_challenged(desk: KeyDesk, exports: Exporting) -> tuple[Customer, AccessRequested]:
    """Have a new person ask for an export that needs a code."""
    person = await desk.near.person()
    customer = await exports.a_customer()
    customer.user_id = person.user_id
    await exports.pool.execute(
        "UPDATE contact_list SET account_id = $2 WHERE list_id = $1", customer.list_id, person.account_id
    )
    customer.account_id = person.account_id
    asked = await exports.requested(await exports.ask(customer))
    told = {name: getattr(asked, name) for name in ("request_id", "action", "digest", "summary", "client")}
    await desk.challenged(person, **told, req=req_of(value_of(asked)), reasons=["export.always"])
    desk.people[asked.request_id] = person
    return customer, asked


async def grant_of(desk: KeyDesk, request_id: UUID) -> str:
    """Enter the code of a request; return its grant."""
    told = await desk.judged(challenge_id_of(request_id), await desk.code_of(desk.people[request_id]))
    return str(told["grant"])


def expected(asked: AccessRequested) -> Expected:
    named = {name: getattr(asked, name) for name in ("action", "request_id", "user_id", "account_id", "digest")}
    return Expected(**named, req=req_of(value_of(asked)))


async def published(desk: KeyDesk) -> set[str]:
    async with desk.http.get(f"{desk.fleet.url('verifier')}/.well-known/jwks.json") as reply:
        return {key["kid"] for key in (await reply.json())["keys"]}


async def test_grants_of_both_keys_count_until_none_of_the_old_one_is_good(
    open_desk: OpenDesk, apart: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signed before, during and after: for a client that has the old keys, for a new one, and for exports."""
    monkeypatch.setitem(rotating.ACTIVE_IN_MIN, "grants", timedelta(0))  # what is waited for is the time of readers
    async with open_desk("verifier", "notifier") as desk:
        jwks = f"{desk.fleet.url('verifier')}/.well-known/jwks.json"
        async with asking(apart, jwks_url=jwks) as exports, Grants(jwks) as long_open:
            async with running(EXPORTS, exports.settings):
                before, during, after, late = [await export_challenged(desk, exports) for _ in range(4)]
            (old,) = desk.ring("verifier", "grant_keys")
            grants = [await grant_of(desk, before[1].request_id)]
            assert (await long_open.check(grants[0], expected(before[1]), clock())).key_id == old
            instances = [f"--instance=verifier={desk.fleet.health_url('verifier')}"]
            assert await desk.countersign("rotate", "grants", *instances, *MEANWHILE) == 0
            assert await published(desk) == set(desk.ring("verifier", "grant_keys"))
            grants.append(await grant_of(desk, during[1].request_id))
            (new,) = desk.ring("verifier", "grant_keys").keys() - {old}
            await desk.active("verifier", "grant_keys", new)
            grants.append(await grant_of(desk, after[1].request_id))

            assert await desk.countersign("revoke", "grants", old, *DOING) == 0
            assert "is retired" in desk.said[-1]
            assert await published(desk) == {old, new}
            asked = [request for _, request in (before, during, after)]
            async with Grants(jwks) as fresh:
                for reader in (long_open, fresh):
                    found = [
                        (await reader.check(grant, expected(request), clock())).key_id
                        for grant, request in zip(grants, asked, strict=True)
                    ]
                    assert found == [old, old, new]
            async with running(EXPORTS, exports.settings):
                for customer, request in (before, during, after):
                    await exports.becomes(customer, request.request_id, "ready")
            await _goes_once_nothing_needs_it(desk, old)
            assert await published(desk) == {new}
            async with Grants(jwks) as fresh:
                with pytest.raises(GrantRefusedError) as refused:
                    await fresh.check(grants[0], expected(asked[0]), clock())
                assert refused.value.what == "kid"
            async with running(EXPORTS, exports.settings):
                grants.append(await grant_of(desk, late[1].request_id))
                await exports.becomes(late[0], late[1].request_id, "ready")


async def _goes_once_nothing_needs_it(desk: KeyDesk, old: str) -> None:
    """Revoke a key that is retired: refused for 40 days, and while a grant of it is good."""
    for _ in range(2):
        assert await desk.countersign("revoke", "grants", old, *DOING) == 1
        assert "2 grants that are still good were signed with it, until" in desk.said[-1]
        desk.redate("grant_keys", old, retired_at=clock() - timedelta(days=40, minutes=1))
    assert "key set (JWKS)" in desk.said[-2]
    assert "key set (JWKS)" not in desk.said[-1]
    assert await published(desk) == set(desk.ring("verifier", "grant_keys")) - {old}
    await desk.near.db.execute("UPDATE verifier.decision SET grant_expires_at = now()")
    assert await desk.countersign("revoke", "grants", old, *DOING) == 0
    assert old not in desk.ring("verifier", "grant_keys")


async def test_texts_leave_before_during_and_after_the_numbers_are_sealed_anew(open_desk: OpenDesk) -> None:
    """And a number that is entered after the rotation is sealed with the new key; then the old one goes."""
    async with open_desk("enrolment", "notifier") as desk:
        (old,) = desk.ring("enrolment", "number_keys")
        person, newcomer = await desk.near.person(), Person(uuid4(), uuid4(), uuid4(), STRANGER)
        await desk.near.db.execute(ADD_MEMBER, newcomer.account_id, newcomer.user_id, None)
        assert await text_comes(desk, person)
        assert await desk.countersign("rotate", "numbers", *desk.instances(), *MEANWHILE) == 0
        assert "`python -m services.enrolment rekey`" in desk.said[-1]
        (new,) = desk.ring("enrolment", "number_keys").keys() - {old}
        assert await text_comes(desk, person)
        await desk.active("enrolment", "number_keys", new)
        newcomer = await entered(desk, newcomer)
        assert await sealed_with(desk, person, newcomer) == [old, new]
        assert await text_comes(desk, newcomer)
        assert await desk.countersign("revoke", "numbers", old, *DOING) == 1
        assert " numbers are sealed with it: run `python -m services.enrolment rekey`" in desk.said[-1]

        assert await rekeyed(desk) == 0
        assert await sealed_with(desk, person, newcomer) == [new, new]
        assert await text_comes(desk, person)

        async def nothing_needs_it() -> bool:
            return await desk.countersign("revoke", "numbers", old, *DOING) == 0

        await eventually(nothing_needs_it, within=20)
        assert [set(desk.ring(name, "number_keys")) for name in desk.services] == [{new}] * 2
        for one in (person, newcomer):
            assert await text_comes(desk, one)


async def text_comes(desk: KeyDesk, person: Person) -> bool:
    """Issue a challenge; tell whether its code came to the person's phone, and to no other."""
    challenge = desk.near.challenge(person)
    await desk.near.issue(challenge)
    await desk.near.settled(challenge)
    return [text.number for text in desk.sns.with_code(challenge.code)] == [person.number]


async def entered(desk: KeyDesk, person: Person) -> Person:
    """Have somebody enter their number at enrolment."""
    body = {"number": person.number, "actor": str(person.user_id), "client": {"ip": None, "locale": "en"}}
    url = f"{desk.fleet.url('enrolment')}/v1/users/{person.user_id}/number"
    async with desk.http.put(url, json=body) as reply:
        told = await reply.json()
        assert reply.status == 202, told
        return Person(person.account_id, person.user_id, UUID(told["number_id"]), person.number)


async def sealed_with(desk: KeyDesk, *people: Person) -> list[str]:
    statement = "SELECT key_id FROM enrolment.sealed_number WHERE number_id = $1"
    return [await desk.near.db.fetchval(statement, person.number_id) for person in people]


async def rekeyed(desk: KeyDesk) -> int | None:
    """Run `python -m services.enrolment rekey` with the settings of the service that runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.enrolment", "rekey"),
        cwd=CHECKOUT,
        env={**os.environ, **desk.fleet.environment("enrolment")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    desk.said.append((await process.communicate())[0].decode())
    return process.returncode


async def test_assessments_of_both_keys_are_judged_and_none_later_than_it_could_be_on_its_way(
    open_desk: OpenDesk,
) -> None:
    """Requests before, during and after; and one whose assessment was signed before and is read after."""
    async with open_desk("risk_evaluator", "verifier") as desk:
        (old,) = desk.ring("verifier", "assessment_keys")
        requests = [await requested(desk)]
        await desk.is_challenged(requests[0])
        assert await desk.countersign("rotate", "assessments", *desk.instances(), *MEANWHILE) == 0
        (new,) = desk.ring("verifier", "assessment_keys").keys() - {old}
        requests.append(await requested(desk))
        await desk.is_challenged(requests[1])
        await desk.fleet.end("verifier")
        requests.append(await requested(desk))  # signed with the old key, and read when the new one is in use
        await assessed_with(desk, requests, [old] * 3)
        await desk.active("verifier", "assessment_keys", new)
        await desk.fleet.start("verifier")
        requests.append(await requested(desk))
        for request_id in requests[2:]:
            await desk.is_challenged(request_id)
        await assessed_with(desk, requests, [old] * 3 + [new])

        assert await desk.countersign("revoke", "assessments", old, *DOING) == 1
        assert "assessments may be on their way, until" in desk.said[-1]
        desk.redate("assessment_keys", new, active_from=clock() - timedelta(minutes=20, seconds=1))
        assert await desk.countersign("revoke", "assessments", old, *DOING) == 0
        assert [set(desk.ring(name, "assessment_keys")) for name in desk.services] == [{new}] * 2
        last = await requested(desk)
        await desk.is_challenged(last)


async def requested(desk: KeyDesk) -> UUID:
    """Publish a log-in of a new person from a new place."""
    person = await desk.near.person()
    event = an_access_requested(account_id=person.account_id, user_id=person.user_id)
    await publish(desk.near.servers.kafka, outgoing(event, source="gateway"))
    return event.request_id


async def assessed_with(desk: KeyDesk, requests: list[UUID], keys: list[str]) -> None:
    """Wait until each of the requests has its assessment, signed with that key."""
    found: dict[str, Any] = {}

    async def all_are() -> bool:
        for record in await read_topic(desk.near.servers.kafka, "access.assessments.v1"):
            value = json.loads(record.value or b"{}")
            found[value["request_id"]] = value["key_id"]
        return all(str(request_id) in found for request_id in requests)

    await eventually(all_are, within=20)
    assert [found[str(request_id)] for request_id in requests] == keys
