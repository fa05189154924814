"""Long polls over HTTP: whoever goes away waits no longer, and no caller takes all the places."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import pytest

from services.verifier import waiters
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.verifier import VerifierUnderTest

pytestmark = pytest.mark.servers

GATEWAY, READER = 0, 1


def asked(verifier: VerifierUnderTest, caller: int, seconds: float, request_id: UUID | None = None) -> bytes:
    """Return a poll as bytes."""
    token = verifier.settings.http.callers[caller].token.get_secret_value()
    return (
        f"GET /v1/requests/{request_id or uuid4()}?wait={seconds:g} HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    ).encode()


@asynccontextmanager
async def polls(verifier: VerifierUnderTest, caller: int, number: int) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Open polls that wait for long, and close them at the end without waiting for an answer."""
    opened = [await asyncio.open_connection("127.0.0.1", verifier.settings.http.port) for _ in range(number)]
    for _, writer in opened:
        writer.write(asked(verifier, caller, 55))
    try:
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def poll(verifier: VerifierUnderTest, caller: int, seconds: float = 0, request_id: UUID | None = None) -> bytes:
    """Poll once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", verifier.settings.http.port)
    writer.write(asked(verifier, caller, seconds, request_id))
    try:
        async with asyncio.timeout(5):
            return await reader.read(-1)
    finally:
        writer.close()


async def test_polls_that_are_opened_and_closed_block_nobody(
    verifier: VerifierUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4,000 of them where 1,000 may wait, each for 55 s if it were for them; then everybody is answered at once."""
    monkeypatch.setattr(waiters, "WAITING_MAX", 1_000)
    monkeypatch.setattr(waiters, "CALLER_WAITING_MAX", 500)
    for _ in range(10):
        async with polls(verifier, GATEWAY, 400):
            await asyncio.sleep(0.1)
    event, _ = await verifier.challenged(await verifier.member())
    for caller in (READER, GATEWAY):

        async def answered(caller: int = caller) -> bool:
            return b'"challenged"' in await poll(verifier, caller, 5, event.request_id)

        await eventually(answered, within=2)


async def test_a_caller_that_takes_its_places_leaves_the_others_theirs(
    verifier: VerifierUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sixth is told to come back; another caller is answered, and so is the first when one of its polls ended."""
    monkeypatch.setattr(waiters, "CALLER_WAITING_MAX", 5)
    async with polls(verifier, GATEWAY, 5):

        async def full() -> bool:
            return b" 429 " in await poll(verifier, GATEWAY)

        await eventually(full, within=3)
        told = await poll(verifier, GATEWAY)
        assert b"Retry-After: 1\r\n" in told
        assert b"urn:countersign:problem:too_many_waiters" in told
        assert b" 404 " in await poll(verifier, READER)

    async def free() -> bool:
        return b" 404 " in await poll(verifier, GATEWAY)

    await eventually(free, within=2)


async def test_whoever_leaves_before_their_turn_leaves_the_door(verifier: VerifierUnderTest) -> None:
    """Eight answers wait behind one that is being judged and go away: the ninth is not turned away."""
    _, challenge_id = await verifier.challenged(await verifier.member())
    token = verifier.settings.http.callers[GATEWAY].token.get_secret_value()

    async def send() -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", verifier.settings.http.port)
        content = f'{{"code": "000000", "answer_id": "{uuid4()}"}}'
        writer.write(
            f"POST /v1/challenges/{challenge_id}/answers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Length: {len(content)}\r\n\r\n{content}".encode()
        )
        return writer

    async with verifier.db.acquire() as db, db.transaction():
        await db.execute("SELECT FROM verifier.challenge WHERE challenge_id = $1 FOR UPDATE", challenge_id)
        gone = [await send() for _ in range(8)]
        await asyncio.sleep(0.5)
        for writer in gone:
            writer.transport.abort()
        await asyncio.sleep(0.2)
        waiting = asyncio.ensure_future(verifier.answer(challenge_id, "000001"))
        await asyncio.sleep(0.2)
    reply = await waiting
    assert (reply["status"], reply["verdict"]) == (200, "wrong")
    # The one inside was judged although its client had gone; the seven before the door were not.
    tried = await verifier.db.fetchval("SELECT attempts FROM verifier.challenge WHERE challenge_id = $1", challenge_id)
    assert tried == 2
