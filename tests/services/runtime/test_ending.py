"""A process that is told to stop ends within a bounded time, also if PostgreSQL does not answer."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
import structlog
from structlog.testing import capture_logs

from countersign.runtime.due_work.settled import Settled
from countersign.runtime.program import service
from countersign.runtime.settings import PostgresSettings
from countersign.runtime.waker import Waker
from deploy.local.process import free_ports
from tests.support.frame import running
from tests.support.kafka import eventually
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.settings import ServiceSettings
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
BOUND_SECONDS = 60  # the end takes 20 s at most, and this machine may be busy


class Line:
    """A line to PostgreSQL that can go dead: connections stay open, and nothing comes through."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._alive = asyncio.Event()
        self._alive.set()
        self._ends: list[asyncio.StreamWriter] = []
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def go_dead(self) -> None:
        self._alive.clear()

    async def close(self) -> None:
        self._alive.set()
        self._server.close()
        for end in self._ends:
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.append(writer)
        await self._alive.wait()
        there, back = await asyncio.open_connection(*self._target)
        self._ends.append(back)
        await asyncio.gather(self._pour(reader, back), self._pour(there, writer))

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._alive.wait()
                writer.write(data)
        writer.close()


class Slow:
    """One piece of due work that is in flight until it is let go."""

    name = "slow"
    every = 0.1
    parallel = 2
    leases = False
    settles_at_once = False

    def __init__(self) -> None:
        self.waker = Waker()
        self.in_flight, self.let_go = asyncio.Event(), asyncio.Event()

    async def take(self, _db: Connection, _limit: int) -> Sequence[int]:
        return () if self.in_flight.is_set() else (7,)

    async def act(self, item: int) -> int:
        self.in_flight.set()
        await self.let_go.wait()
        return item

    async def settle(self, db: Connection, done: Sequence[int]) -> Settled[int]:
        await db.execute("SELECT 1")
        return Settled(done=done)

    def committed(self, done: Sequence[int]) -> None:
        raise AssertionError(f"{done}: told, though the database was away")


@pytest_asyncio.fixture
async def toy(servers: Servers) -> Toy:
    return await a_toy(servers)


@pytest_asyncio.fixture
async def line(toy: Toy) -> AsyncIterator[Line]:
    parts = urlsplit(toy.dsn)
    line = Line(str(parts.hostname), int(parts.port or 5432))
    await line.open()
    yield line
    await line.close()


def at_port(toy: Toy, port: int) -> ServiceSettings:
    """Return settings of the toy with PostgreSQL at that port."""
    parts = urlsplit(toy.dsn)
    netloc = parts.netloc.replace(f":{parts.port}", f":{port}")
    postgres = PostgresSettings(dsn=parts._replace(netloc=netloc).geturl())  # type: ignore[arg-type] # a secret
    return toy.settings().model_copy(update={"postgres": postgres})


@pytest.mark.parametrize("dead", [True, False])
async def test_a_service_ends_while_postgresql_is_away(toy: Toy, line: Line, dead: bool) -> None:
    """A line that went dead, and a server that refuses: work in flight is left behind, and that is told."""
    slow = Slow()
    with capture_logs() as logs:
        async with asyncio.timeout(BOUND_SECONDS + 60):
            async with running(toy.service(dues=[slow]), at_port(toy, line.port)):
                await slow.in_flight.wait()
                if dead:
                    line.go_dead()
                else:
                    await line.close()
                slow.let_go.set()
                began = asyncio.get_running_loop().time()
            took = asyncio.get_running_loop().time() - began
    assert took < BOUND_SECONDS
    told = {line["event"] for line in logs}
    assert told & {"due_left_behind", "end_left_behind"}
    assert "service_ended" in told


async def test_a_start_that_waits_for_postgresql_is_given_up(toy: Toy) -> None:
    """SIGTERM to a process that never got to its database."""
    (port,) = free_ports(1)
    waits: list[Any] = []

    async def is_waiting() -> bool:
        return bool(waits)

    def note(_logger: object, _name: str, line: dict[str, Any]) -> dict[str, Any]:
        if line["event"] == "start_waits":
            waits.append(line)
        return line

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[note, structlog.processors.JSONRenderer()])
    loop = asyncio.get_running_loop()
    run = loop.create_task(service._run(toy.service(), at_port(toy, port), log))  # noqa: SLF001 - as `main` does
    try:
        await eventually(is_waiting, within=20)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(BOUND_SECONDS):
            assert await run == 0
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
