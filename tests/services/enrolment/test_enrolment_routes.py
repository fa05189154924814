"""The routes of the running service: what an account looks like, forgetting places, and bad input of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from yarl import URL

from countersign.contract import PlacesForgotten
from tests.support.events import a_member_set
from tests.support.kafka import eventually, read_topic

if TYPE_CHECKING:
    from tests.services.enrolment.conftest import Calls
    from tests.support.enrolment import Desk
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


async def get(calls: Calls, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    async with calls.session.get(calls.url + path, headers=headers or calls.gateway) as answer:
        return answer.status, await answer.json(content_type=None)


async def delete(calls: Calls, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    url = URL(calls.url + path, encoded=True)
    async with calls.session.delete(url, headers=headers or calls.gateway) as answer:
        return answer.status, None if answer.status == 204 else await answer.json(content_type=None)


async def told_of(servers: Servers, account_id: UUID) -> list[PlacesForgotten]:
    records = await read_topic(servers.kafka, PlacesForgotten.topic)
    mine = [record for record in records if record.key == str(account_id).encode()]
    return [PlacesForgotten.model_validate_json(record.value or b"") for record in mine]


async def test_an_account_is_shown_with_its_members_numbers_and_blocks(desk: Desk, calls: Calls) -> None:
    """No number but its hint, no sealed form, no fingerprint."""
    account_id, owner_id = await desk.account()
    given_id, bare_id = uuid4(), uuid4()
    await desk.fold(
        a_member_set(account_id=account_id, user_id=given_id, name="Ben"),
        a_member_set(account_id=account_id, user_id=bare_id, name="Clara", locale="de"),
    )
    confirmed = await desk.add_number(owner_id, "confirmed")
    given = await desk.add_number(given_id)
    await desk.ask_for(a_member_set(account_id=account_id), owner_id)
    status, seen = await get(calls, f"/v1/accounts/{account_id}")
    assert status == 200
    requests = seen.pop("open_requests")
    assert [(one["action"], one["user_id"]) for one in requests] == [("manage_member", str(owner_id))]
    hint = "+61 ••••••••06"
    shown = {"locale": "en", "number": None, "given_number": None, "exports_held_until": None}
    shown |= {"unlocked_at": None, "reset": None}
    for member, kind in ((0, "number"), (1, "given_number")):
        assert seen["members"][member][kind].pop("since")
    number = {"number_id": str(confirmed), "state": "confirmed", "hint": hint}
    given_number = {"number_id": str(given), "state": "provided", "hint": hint}
    assert seen == {
        "account_id": str(account_id),
        "two_factor": False,
        "two_factor_since": None,
        "version": 0,
        "exports_held_until": None,
        "members": [
            {"user_id": str(owner_id), "role": "owner", "name": "Olivia Marsh", **shown, "number": number},
            {"user_id": str(given_id), "role": "managed", "name": "Ben", **shown, "given_number": given_number},
            {"user_id": str(bare_id), "role": "managed", "name": "Clara", **shown, "locale": "de"},
        ],
        "pending_members": [],
        "blocked_by": [{"user_id": str(bare_id), "name": "Clara", "reason": "number.missing"}],
        "unconfirmed": [str(given_id)],
        "policy": {"members_need": "given"},
    }


@pytest.mark.parametrize("place", [None, "203.0.113.7/32", "2001:db8:1:2::/64"])
async def test_forgotten_places_are_told(desk: Desk, calls: Calls, servers: Servers, place: str | None) -> None:
    """All of them or one, percent-encoded; who asked is the member, or the calling service."""
    account_id, owner_id = await desk.account()
    path = f"/v1/accounts/{account_id}/places" + ("" if place is None else f"/{quote(place, safe='')}")
    assert await delete(calls, f"{path}?actor_id={owner_id}") == (204, None)
    assert await delete(calls, f"{path}?user_id={owner_id}") == (204, None)

    async def both() -> bool:
        return len(await told_of(servers, account_id)) == 2

    await eventually(both)
    first, second = sorted(await told_of(servers, account_id), key=lambda event: event.version)
    assert (first.version, first.place, first.user_id) == (1, place, None)
    assert (first.actor.kind, first.actor.id) == ("user", str(owner_id))
    assert (second.version, second.place, second.user_id) == (2, place, owner_id)
    assert (second.actor.kind, second.actor.id) == ("system", "gateway")


BAD_IDS = ("1", "not-a-uuid", "{0}x", "urn:uuid:{0}", "%00", "'--")


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_a_malformed_id_is_400(desk: Desk, calls: Calls, bad: str) -> None:
    """In the path and in the query, on every route."""
    account_id, _ = await desk.account()
    malformed = bad.format(account_id)
    assert (await get(calls, f"/v1/accounts/{malformed}"))[0] == 400
    assert (await delete(calls, f"/v1/accounts/{malformed}/places"))[0] == 400
    assert (await delete(calls, f"/v1/accounts/{malformed}/places/203.0.113.7%2F32"))[0] == 400
    for name in ("user_id", "actor_id"):
        status, problem = await delete(calls, f"/v1/accounts/{account_id}/places?{name}={malformed}")
        assert (status, problem["type"]) == (400, "urn:countersign:problem:malformed_id")


@pytest.mark.parametrize(
    "place",
    [
        "203.0.113.7",
        "203.0.113.7%2F24",
        "203.0.113.7%2F33",
        "0203.0.113.7%2F32",
        "2001:DB8::%2F64",
        "fe80::1%25eth0%2F128",
        "everywhere",
        "%EF%BC%92%2F32",
        "203.0.113.7%2F32%00",
        "1%2F32",
    ],
)
async def test_a_malformed_place_is_400(desk: Desk, calls: Calls, servers: Servers, place: str) -> None:
    """Only a network in its one canonical form is a place; nothing is told."""
    account_id, _ = await desk.account()
    status, problem = await delete(calls, f"/v1/accounts/{account_id}/places/{place}")
    assert (status, problem["type"]) == (400, "urn:countersign:problem:malformed_place")
    assert await desk.db.fetchval("SELECT version FROM account WHERE account_id = $1", account_id) == 0
    del servers


async def test_an_unknown_account_user_or_actor_is_refused(desk: Desk, calls: Calls) -> None:
    """404 for what is not there; 403 for somebody who is no member of it; nothing is changed."""
    account_id, owner_id = await desk.account()
    _, stranger = await desk.account()
    path = f"/v1/accounts/{account_id}/places"
    assert (await get(calls, f"/v1/accounts/{uuid4()}"))[0] == 404
    assert (await delete(calls, f"/v1/accounts/{uuid4()}/places"))[0] == 404
    assert (await delete(calls, f"{path}?user_id={uuid4()}"))[0] == 404
    assert (await delete(calls, f"{path}?user_id={stranger}"))[0] == 404
    assert (await delete(calls, f"{path}?actor_id={uuid4()}"))[0] == 403
    assert (await delete(calls, f"{path}?actor_id={stranger}"))[0] == 403
    assert (await delete(calls, f"{path}?everything=yes"))[0] == 400
    assert (await delete(calls, f"{path}?user_id={owner_id}&user_id={owner_id}"))[0] == 400
    assert await desk.db.fetchval("SELECT version FROM account WHERE account_id = $1", account_id) == 0


@pytest.mark.parametrize(
    ("authorization", "status"),
    [(None, 401), ("", 401), ("Bearer", 401), ("Bearer nonsense", 401), ("Basic Zm9vOmJhcg==", 401)],
)
async def test_without_a_known_bearer_nothing_is_told(
    desk: Desk, calls: Calls, authorization: str | None, status: int
) -> None:
    """401 with WWW-Authenticate, on every route, also for an account that is not there."""
    account_id, _ = await desk.account()
    headers = {"X-Nothing": "x"} if authorization is None else {"Authorization": authorization}
    for one in (account_id, uuid4()):
        assert (await get(calls, f"/v1/accounts/{one}", headers))[0] == status
        assert (await delete(calls, f"/v1/accounts/{one}/places", headers))[0] == status
        assert (await delete(calls, f"/v1/accounts/{one}/places/203.0.113.7%2F32", headers))[0] == status


async def test_a_caller_may_call_its_own_routes_only(desk: Desk, calls: Calls) -> None:
    """403 as a problem document that names caller and route."""
    account_id, _ = await desk.account()
    assert (await get(calls, f"/v1/accounts/{account_id}", calls.stranger))[0] == 200
    for path in ("places", "places/203.0.113.7%2F32"):
        status, problem = await delete(calls, f"/v1/accounts/{account_id}/{path}", calls.stranger)
        assert (status, problem["type"]) == (403, "urn:countersign:problem:caller_not_allowed")
        assert "stranger" in problem["detail"]


async def test_other_methods_and_paths_are_problem_documents(desk: Desk, calls: Calls) -> None:
    """404 and 405."""
    account_id, _ = await desk.account()
    for method, path, status in (
        ("POST", f"/v1/accounts/{account_id}", 405),
        ("GET", f"/v1/accounts/{account_id}/places", 405),
        ("DELETE", f"/v1/accounts/{account_id}/places/203.0.113.7/32", 404),
        ("DELETE", f"/v1/accounts/{account_id}/places/", 404),
        ("GET", f"/v1/accounts/{account_id}/two-factor", 405),
        ("GET", "/v1/accounts", 404),
    ):
        async with calls.session.request(method, calls.url + path, headers=calls.gateway) as answer:
            assert answer.status == status, path
            assert answer.content_type == "application/problem+json"
