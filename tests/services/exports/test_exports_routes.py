"""What each route of exports answers to what should not have been asked, and its limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from services.exports.settings import FileSettings
from tests.services.exports.exporting import OTHER_BEARER, exporting

if TYPE_CHECKING:
    from tests.services.exports.exporting import Exporting
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

ID = "01890a5d-ac96-774b-bcce-b302099a8057"  # nobody has it; fixed, as all workers must agree on the names of tests
WHO = {"account_id": str(uuid4()), "user_id": str(uuid4()), "session": "A" * 43}
EVERY_ROUTE = [
    ("GET", f"/v1/accounts/{ID}/lists"),
    ("GET", f"/v1/lists/{ID}/contacts"),
    ("POST", "/v1/exports"),
    ("GET", f"/v1/exports/{ID}"),
    ("GET", f"/v1/exports/{ID}/file"),
]


@pytest.mark.parametrize(("method", "path"), EVERY_ROUTE)
async def test_every_route_asks_for_the_right_bearer(exports: Exporting, method: str, path: str) -> None:
    """None or a wrong one is 401, another caller's 403; the problem is in words."""
    for bearer in (None, "wrong" * 10):
        answer = await exports.call(method, path, bearer=bearer)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    basic = await exports.call(method, path, bearer=None, headers={"Authorization": "Basic Og=="})
    assert basic.status == 401
    other = await exports.call(method, path, bearer=OTHER_BEARER)
    assert other.status == (200 if path.endswith("/lists") else 403)


@pytest.mark.parametrize("bad", ["1", "x" * 36, "00000000000000000000000000000000", "%00", "%F0%9F%98%80", "A" * 3000])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/accounts/{}/lists",
        "/v1/lists/{}/contacts",
        "/v1/exports/{}",
        "/v1/exports/{}/file",
        f"/v1/lists/{ID}/contacts?account_id={{}}&user_id={ID}",
        f"/v1/lists/{ID}/contacts?account_id={ID}&user_id={{}}",
        f"/v1/lists/{ID}/contacts?account_id={ID}&user_id={ID}&after={{}}",
        f"/v1/exports/{ID}?account_id={{}}&user_id={ID}",
        f"/v1/exports/{ID}?account_id={ID}&user_id={{}}",
        f"/v1/exports/{ID}/file?account_id={ID}&user_id={{}}",
        f"/v1/exports/{ID}?account_id={ID}&user_id={ID}&session={{}}",
        f"/v1/exports/{ID}/file?account_id={ID}&user_id={ID}&session={{}}",
    ],
)
async def test_an_id_that_is_none_is_400(exports: Exporting, path: str, bad: str) -> None:
    """Wherever it stands."""
    answer = await exports.call("GET", path.format(bad))
    assert answer.status == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("path", [f"/v1/lists/{ID}/contacts", f"/v1/exports/{ID}", f"/v1/exports/{ID}/file"])
async def test_account_and_user_are_asked_for(exports: Exporting, path: str) -> None:
    """A page or a file is somebody's; an export is one browser session's."""
    for query in ({}, {"account_id": WHO["account_id"]}, {"user_id": WHO["user_id"]}):
        answer = await exports.call("GET", path, params=query)
        assert (answer.status, answer.body["type"]) == (400, "urn:countersign:problem:missing")
    if "/exports/" in path:
        query = {name: value for name, value in WHO.items() if name != "session"}
        answer = await exports.call("GET", path, params=query)
        assert (answer.status, answer.body["type"]) == (400, "urn:countersign:problem:missing")


BODY: dict[str, Any] = {**WHO, "list_id": ID, "format": "csv", "client": {"ip": None, "locale": None}}


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[]", 422, None),
        (b'"x"', 422, None),
        ({}, 422, "account_id"),
        ({**BODY, "account_id": "1"}, 422, "account_id"),
        ({**BODY, "account_id": 1}, 422, "account_id"),
        ({**BODY, "user_id": None}, 422, "user_id"),
        ({**BODY, "list_id": []}, 422, "list_id"),
        ({**BODY, "format": "xlsx"}, 422, "format"),
        ({**BODY, "format": "CSV"}, 422, "format"),
        ({**BODY, "client": None}, 422, "client"),
        ({**BODY, "client": {"ip": "nowhere"}}, 404, None),  # a hint is no reason to refuse an export
        ({**BODY, "client": {"ip": "fe80::1%eth0"}}, 404, None),
        ({**BODY, "client": {"locale": "\x00"}}, 404, None),
        ({**BODY, "export_id": "again"}, 422, "export_id"),
        ({name: value for name, value in BODY.items() if name != "session"}, 422, "session"),
        ({**BODY, "session": None}, 422, "session"),
        ({**BODY, "session": "A" * 42}, 422, "session"),
        ({**BODY, "session": "A" * 43 + "="}, 422, "session"),
        ({**BODY, "session": "A" * 43 + "\n"}, 422, "session"),
        ({**BODY, "rows": 3}, 422, "rows"),
        (BODY, 404, None),
    ],
)
async def test_bodies_that_are_not_right_are_told_which_field(
    exports: Exporting, body: Any, status: int, named: str | None
) -> None:
    """400 is not JSON, 422 wrong fields, 404 a list that is not of that account."""
    given = {"data": body} if isinstance(body, bytes) else {"json": body}
    answer = await exports.call("POST", "/v1/exports", **given)
    assert answer.status == status, answer
    if named is not None:
        assert any(error.startswith(f"{named}:") for error in answer.body["errors"])


async def test_a_body_without_end_is_refused(exports: Exporting) -> None:
    """413 beyond 64 KiB."""
    answer = await exports.call("POST", "/v1/exports", data=b"x" * 70_000)
    assert answer.status == 413


async def test_wrong_methods_and_addresses(exports: Exporting) -> None:
    """Problems in words, too."""
    assert (await exports.call("DELETE", "/v1/exports")).status == 405
    assert (await exports.call("GET", "/v2/exports")).status == 404


async def test_lists_of_an_account(exports: Exporting) -> None:
    """Its own; of another, none."""
    customer = await exports.a_customer(rows=2, name="Guests")
    answer = await exports.call("GET", f"/v1/accounts/{customer.account_id}/lists")
    assert answer.body == {"lists": [{"list_id": str(customer.list_id), "name": "Guests", "rows": 2}]}
    assert (await exports.call("GET", f"/v1/accounts/{uuid4()}/lists")).body == {"lists": []}


async def test_what_is_of_another_account_or_user_is_not_there(exports: Exporting) -> None:
    """404, whether or not it exists somewhere."""
    ours, theirs = await exports.a_customer(), await exports.a_customer()
    export_id = await exports.ask(ours)
    assert (
        await exports.call("POST", "/v1/exports", json=exports.body(ours, list_id=str(theirs.list_id)))
    ).status == 404
    pages = await exports.call("GET", f"/v1/lists/{ours.list_id}/contacts", params=theirs.who)
    assert pages.status == 404
    for who in (theirs.who, {**ours.who, "user_id": str(uuid4())}, {**ours.who, "account_id": str(uuid4())}):
        for path in (f"/v1/exports/{export_id}", f"/v1/exports/{export_id}/file"):
            assert (await exports.call("GET", path, params=who)).status == 404


async def test_a_user_known_to_be_of_another_account_gets_nothing_here(exports: Exporting) -> None:
    """A spent grant says whose a user is, and that never changes; all others are denied `member.unknown` later."""
    ours, theirs = await exports.a_customer(), await exports.a_customer()
    export_id = await exports.ask(ours)
    await exports.publish(exports.granted(await exports.requested(export_id)))
    await exports.becomes(ours, export_id, "ready")
    stranger = {**theirs.who, "user_id": str(ours.user_id)}
    assert (await exports.call("POST", "/v1/exports", json=exports.body(theirs, **stranger))).status == 404
    pages = await exports.call("GET", f"/v1/lists/{theirs.list_id}/contacts", params=stranger)
    assert pages.status == 404


async def test_pages_go_through_a_list_without_holes(exports: Exporting) -> None:
    """By name; `next` ends them."""
    customer = await exports.a_customer(rows=7)
    seen: list[str] = []
    query = {**customer.who, "limit": "3"}
    while True:
        answer = await exports.call("GET", f"/v1/lists/{customer.list_id}/contacts", params=query)
        seen += [contact["name"] for contact in answer.body["contacts"]]
        if answer.body["next"] is None:
            break
        query["after"] = answer.body["next"]
    assert seen == [f"Contact {number:03}" for number in range(7)]


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "1.5", "99999999999", "", "٣"])
async def test_a_page_has_at_most_fifty_contacts(exports: Exporting, limit: str) -> None:
    """400 for anything else."""
    customer = await exports.a_customer(rows=1)
    answer = await exports.call(
        "GET", f"/v1/lists/{customer.list_id}/contacts", params={**customer.who, "limit": limit}
    )
    assert (answer.status, answer.body["type"]) == (400, "urn:countersign:problem:limit")


async def test_a_user_reads_at_most_twenty_pages_an_hour(exports: Exporting) -> None:
    """Also in parallel; a colleague has pages of their own."""
    customer = await exports.a_customer(rows=2)
    path = f"/v1/lists/{customer.list_id}/contacts"
    answers = await asyncio.gather(*(exports.call("GET", path, params=customer.who) for _ in range(25)))
    assert sorted(answer.status for answer in answers) == [200] * 20 + [429] * 5
    refused = next(answer for answer in answers if answer.status == 429)
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    colleague = {**customer.who, "user_id": str(uuid4())}
    assert (await exports.call("GET", path, params=colleague)).status == 200
    await exports.pool.execute(
        "UPDATE page_read SET read_at = read_at - interval '61 minutes' WHERE user_id = $1", customer.user_id
    )
    assert (await exports.call("GET", path, params=customer.who)).status == 200


async def test_few_exports_of_a_user_wait_at_a_time(servers: Servers) -> None:
    """And a list longer than the limit is no file: told at once, nothing frozen."""
    async with exporting(servers, files=FileSettings(waiting_max=2, rows_max=3)) as exports:
        customer = await exports.a_customer(rows=3)
        asking = (exports.call("POST", "/v1/exports", json=exports.body(customer)) for _ in range(5))
        statuses = sorted(answer.status for answer in await asyncio.gather(*asking))
        assert statuses == [202, 202, 429, 429, 429]
        long = await exports.a_customer(rows=4)
        answer = await exports.call("POST", "/v1/exports", json=exports.body(long))
        assert (answer.status, answer.body["type"]) == (422, "urn:countersign:problem:too_many_rows")
        frozen = "SELECT count(*) FROM frozen_contact WHERE contact_id = ANY($1::uuid[])"
        assert await exports.pool.fetchval(frozen, long.contact_ids) == 0
