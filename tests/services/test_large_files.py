"""A file of 200 MB goes from the database to a browser through two processes that never hold it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from countersign.contract import base64url
from deploy.local.programs import POLICY
from tests.support.fleet import Fleet
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

LINE = b"0123456789abcde\n"
LINES = 12_500_000
SIZE = LINES * len(LINE)
GROWTH_MAX = 64 * 1024 * 1024  # pieces, buffers and what an interpreter keeps; the file is three times as large
THROUGH = ("exports", "gateway")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def fleet(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Run the two services that a file goes through."""
    found = Fleet(servers, tmp_path_factory.mktemp("fleet"), servers.sns_url, policy=POLICY)
    try:
        await found.start_all(THROUGH)
        yield found
    finally:
        await found.end_all()


@pytest_asyncio.fixture(loop_scope="session")
async def export(servers: Servers) -> AsyncIterator[tuple[UUID, str]]:
    """Offer a file to a browser that is signed in; return the export's id and the browser's cookie."""
    ids = [uuid4() for _ in range(3)]
    export_id, account_id, user_id = ids
    secret = base64url(secrets.token_bytes(32))
    session = hashlib.sha256(secret.encode()).digest()
    db = await asyncpg.connect(servers.postgres_dsn)
    await db.execute(
        "INSERT INTO gateway.person (user_id, account_id, email, name, password, staff) "
        "VALUES ($1, $2, $3, 'Ada', '$argon2id$none', false)",
        *(user_id, account_id, f"{user_id}@example.com"),
    )
    await db.execute(
        "INSERT INTO gateway.session (id, site, stage, user_id, request_id, method, begun_at, used_at) "
        "VALUES ($1, 'pages', 'signed_in', $2, $3, 'sms', now(), now())",
        *(session, user_id, uuid4()),
    )
    await db.execute(
        "INSERT INTO exports.export (export_id, account_id, user_id, list_id, list_name, format, rows, contacts, "
        "asked, asked_at, state, expires_at, session) VALUES ($1, $2, $3, $1, 'Large', 'jsonl', $4, $5, $5, now(), "
        "'ready', now() + interval '15 minutes', $6)",
        *(export_id, account_id, user_id, LINES, bytes(32), session),
    )
    await db.execute(
        "INSERT INTO exports.file (export_id, content) VALUES ($1, convert_to(repeat($2, $3), 'UTF8'))",
        *(export_id, LINE.decode(), LINES),
    )
    yield export_id, secret
    await db.execute("DELETE FROM exports.export WHERE export_id = $1", export_id)
    await db.close()


def memory(pid: int, name: str) -> int:
    """Return what proc(5) says of a process, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory begin anew (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def value(metrics: str, name: str, *labels: str) -> float:
    """Return the sum of a metric's values whose labels hold these."""
    lines = [line for line in metrics.splitlines() if line.startswith(name) and all(one in line for one in labels)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def page_of(fleet: Fleet, export_id: UUID) -> str:
    return f"{fleet.url('gateway')}/exports/{export_id}/file"


async def test_two_processes_pass_it_on_without_holding_it(fleet: Fleet, export: tuple[UUID, str]) -> None:
    """Three browsers at once get every byte; the memory of both processes grows by a fraction of one file."""
    export_id, secret = export
    pids = {name: fleet.pids()[f"{name}-0"] for name in THROUGH}
    before = {}
    for name, pid in pids.items():
        forget_peak(pid)
        before[name] = memory(pid, "VmRSS")

    async def fetched() -> tuple[int, str | None, str]:
        digest, size = hashlib.sha256(), 0
        async with (
            aiohttp.ClientSession(cookies={"session": secret}) as browser,
            browser.get(page_of(fleet, export_id), allow_redirects=False) as answer,
        ):
            assert answer.status == 200
            async for piece in answer.content.iter_chunked(1 << 20):
                digest.update(piece)
                size += len(piece)
            return size, answer.headers.get("Content-Length"), digest.hexdigest()

    wanted = hashlib.sha256(LINE * LINES).hexdigest()
    assert await asyncio.gather(*(fetched() for _ in range(3))) == [(SIZE, str(SIZE), wanted)] * 3
    grown = {name: memory(pid, "VmHWM") - before[name] for name, pid in pids.items()}
    assert max(grown.values()) < GROWTH_MAX, grown


async def test_a_reader_that_stalls_is_cut_off_in_both(fleet: Fleet, export: tuple[UUID, str]) -> None:
    """It holds a place of each for a minute at most, and no memory but a piece."""
    export_id, secret = export
    url = page_of(fleet, export_id)
    host, port = re.fullmatch(r"http://([^:]+):(\d+)/.*", url).groups()  # type: ignore[union-attr]  # it is one
    open_before = value((await fleet.metrics())["exports-0"], "countersign_connections{")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    path = url.partition(port)[2]
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: session={secret}\r\n\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"

    async def is_cut_off() -> bool:
        metrics = await fleet.metrics()
        stalled = value(metrics["gateway-0"], "countersign_connections_ended_total", 'cause="stalled"')
        return stalled > 0 and value(metrics["exports-0"], "countersign_connections{") <= open_before

    await eventually(is_cut_off, within=100)
    writer.close()
