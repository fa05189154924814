"""Bad input on every route, and what it gets; who may call what; what each database role may read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.support.servers import Servers
    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers
ID = "0197a000-0000-7000-8000-000000000001"
CALLS = [
    ("GET", "/v1/requests/{id}"),
    ("POST", "/v1/challenges/{id}/answers"),
    ("POST", "/v1/challenges/{id}/sends"),
    ("DELETE", "/v1/challenges/{id}"),
]
GOOD = {"code": "123456", "answer_id": ID}


async def status(verifier: VerifierUnderTest, method: str, path: str, token: str | None, body: Any = None) -> int:
    headers = {"Authorization": token} if token is not None else {}
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, verifier.url + path, headers=headers, json=body) as reply,
    ):
        if reply.status >= 400:
            assert reply.content_type == "application/problem+json"
            problem = await reply.json(content_type=None)
            assert problem["status"] == reply.status
            assert problem["type"].startswith("urn:countersign:problem:")
        return reply.status


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("token", [None, "", "Bearer", "Bearer nobody", "Basic abc", "Bearer é"])
async def test_without_the_right_bearer_nobody_is_heard(
    verifier: VerifierUnderTest, method: str, path: str, token: str | None
) -> None:
    """401, before anything of the call is looked at."""
    assert await status(verifier, method, path.format(id="none"), token) == 401


@pytest.mark.parametrize(("method", "path"), CALLS[1:])
async def test_a_caller_has_its_own_routes(verifier: VerifierUnderTest, method: str, path: str) -> None:
    """403 for the reader, who may only ask what became of requests."""
    token = f"Bearer {verifier.settings.http.callers[1].token.get_secret_value()}"
    assert await status(verifier, method, path.format(id=ID), token, GOOD) == 403
    assert await status(verifier, "GET", f"/v1/requests/{ID}", token) == 404


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("malformed", ["1", "none", ID[:-1], ID.replace("-", ""), f"urn:uuid:{ID}", f"{ID}%00"])
async def test_a_malformed_id_is_400(verifier: VerifierUnderTest, method: str, path: str, malformed: str) -> None:
    """One way to write an id."""
    assert (await verifier.call(method, path.format(id=malformed), GOOD))["status"] == 400


@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_an_unknown_id_is_404(verifier: VerifierUnderTest, method: str, path: str) -> None:
    """Whatever else is in the call."""
    assert (await verifier.call(method, path.format(id=uuid4()), GOOD))["status"] == 404


@pytest.mark.parametrize(
    "code",
    ["", "12345", "1234567", "abcdef", "12345a", "12 34 5", "１２３４５", "٤٤٤٤٤", "1" * 64, "12345\u0000", "💥" * 6],  # noqa: RUF001 - digits of other scripts are the case
)
async def test_a_code_off_form_is_422_and_not_counted(verifier: VerifierUnderTest, code: str) -> None:
    """Letters, five and seven digits, five in other scripts or with what nobody sees."""
    event, challenge_id = await verifier.challenged(await verifier.member())
    reply = await verifier.answer(challenge_id, code)
    assert (reply["status"], len(reply["errors"])) == (422, 1)
    assert (await verifier.state(event.request_id))["challenge"]["tries_left"] == 5


@pytest.mark.parametrize("form", ["{} {}", "{}-{}", " {}{} ", "{}\u3000{}", "{}\u2013{}", "wide"])
async def test_a_code_is_taken_as_people_type_it(verifier: VerifierUnderTest, form: str) -> None:
    """Spaces, hyphens, dashes, full-width digits."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    code = await verifier.code(challenge_id)
    typed = form.format(code[:3], code[3:])
    if form == "wide":
        typed = "".join(chr(0xFF10 + int(digit)) for digit in code)
    assert (await verifier.answer(challenge_id, typed))["verdict"] == "accepted"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", 400),
        (b"{nope", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b"{}", 422),
        (json.dumps({"code": 123456, "answer_id": ID}).encode(), 422),
        (json.dumps({"code": "123456"}).encode(), 422),
        (json.dumps({"code": "123456", "answer_id": "1"}).encode(), 422),
        (json.dumps({"code": "1" * 65, "answer_id": ID}).encode(), 422),
        (b'{"code": "\\ud800", "answer_id": "' + ID.encode() + b'"}', 400),
        (b" " * 70_000, 413),
    ],
)
async def test_a_malformed_body_is_told(verifier: VerifierUnderTest, raw: bytes, expected: int) -> None:
    """400 where it is no JSON, 422 where its fields are not right, 413 where it is too long; never the code back."""
    url = f"{verifier.url}/v1/challenges/{ID}/answers"
    async with verifier.http.post(url, data=raw, headers={"Content-Type": "application/json"}) as reply:
        told = await reply.text()
        assert reply.status == expected, told
        assert "123456" not in told


@pytest.mark.parametrize("query", ["wait=-1", "wait=61", "wait=nan", "wait=inf", "wait=soon", "past=granted"])
async def test_a_malformed_query_is_400(verifier: VerifierUnderTest, query: str) -> None:
    """And nobody waits."""
    assert (await verifier.call("GET", f"/v1/requests/{ID}?{query}", None))["status"] == 400


async def test_the_keys_are_public(verifier: VerifierUnderTest) -> None:
    """Without a bearer, cacheable for less than a new key is shown before it signs, and without a secret."""
    async with aiohttp.ClientSession() as http, http.get(f"{verifier.url}/.well-known/jwks.json") as reply:
        keys = (await reply.json())["keys"]
        assert reply.headers["Cache-Control"] == "public, max-age=300"
    assert [key["kid"] for key in keys] == [key.key_id for key in verifier.settings.grant_keys]
    assert all("d" not in key for key in keys)


async def test_no_answer_is_kept_by_anybody_on_the_way(verifier: VerifierUnderTest) -> None:
    """Grants and states are not for caches."""
    event, _ = await verifier.challenged(await verifier.member())
    async with verifier.http.get(f"{verifier.url}/v1/requests/{event.request_id}") as reply:
        assert reply.headers["Cache-Control"] == "no-store"


async def test_a_thousand_bad_calls_stop_nobody(verifier: VerifierUnderTest) -> None:
    """The next right one is answered as ever."""
    for number in range(1000):
        method, path = CALLS[number % 4]
        await verifier.call(method, path.format(id=f"bad-{number}"), {"code": None})
    _, challenge_id = await verifier.challenged(await verifier.member())
    assert (await verifier.answer(challenge_id, await verifier.code(challenge_id)))["verdict"] == "accepted"


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        (
            "verifier",
            ["SELECT 1 FROM enrolment.protection", "SELECT 1 FROM enrolment.number"],
            [
                "SELECT 1 FROM enrolment.sealed_number",
                "SELECT 1 FROM enrolment.phone_number",
                "SELECT 1 FROM enrolment.member",
                "UPDATE enrolment.account SET two_factor = false",
                "SELECT 1 FROM enrolment.outbox",
            ],
        ),
        (
            "gateway",
            ["SELECT 1 FROM verifier.activity"],
            [f"SELECT 1 FROM verifier.{table}" for table in ("request", "challenge", "send", "decision", "counter")],
        ),
        *[
            (
                role,
                [],
                [
                    "SELECT 1 FROM verifier.activity",
                    "SELECT 1 FROM verifier.challenge",
                    "SELECT 1 FROM verifier.decision",
                    "INSERT INTO verifier.decision (request_id, outcome) VALUES (gen_random_uuid(), 'granted')",
                    "DELETE FROM verifier.counter",
                ],
            )
            for role in ("risk_evaluator", "notifier", "enrolment", "exports")
        ],
    ],
)
async def test_each_role_reads_its_own_and_what_is_published(
    servers: Servers, role: str, may: list[str], may_not: list[str]
) -> None:
    """Logged in as each service: views yes, tables of others no."""
    connection = await asyncpg.connect(servers.dsn_of(role))
    try:
        for statement in may:
            await connection.fetch(f"{statement} LIMIT 1")
        for statement in may_not:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
