"""Two real PostgreSQL servers that change their roles: a primary, and a standby that follows it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from deploy.local import postgres
from deploy.local.process import Process, Program, free_ports, started
from tests.support.balancer import Balancer
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PASSWORD = "for-tests-only"
_SECONDS_MAX = 60


class Pair:
    """Servers number 0 and 1, and an address in front of them, as a virtual IP is; at first 0 is the primary."""

    def __init__(self, programs: list[Program], folders: list[Path], ports: list[int]) -> None:
        self._programs = programs
        self._folders = folders
        self.ports = ports
        self._processes: dict[int, Process] = {}
        self.shown = 0
        self.front = Balancer(lambda: ports[self.shown])

    def dsn(self, number: int) -> str:
        """Return the address of one server."""
        return postgres.dsn(self.ports[number], _PASSWORD, "postgres")

    @property
    def front_dsn(self) -> str:
        """Return the address that leads to the server which `shown` names."""
        return postgres.dsn(self.front.port, _PASSWORD, "postgres")

    @property
    def both_dsn(self) -> str:
        """Return one address with both servers, number 0 first."""
        parts = urlsplit(self.dsn(0))
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return urlunsplit(parts._replace(netloc=f"postgres:{_PASSWORD}@{hosts}"))

    async def start(self, number: int) -> None:
        """Start a server and wait until it answers."""
        self._processes[number] = await started(self._programs[number])

    async def stop(self, number: int) -> None:
        """End a server in order: what it has written is at the standby."""
        await self._processes.pop(number).end()

    def follow(self, number: int, other: int) -> None:
        """Make a stopped server a standby of another when it is started."""
        folder = self._folders[number]
        address = f"host=127.0.0.1 port={self.ports[other]} user=postgres password={_PASSWORD}"
        with (folder / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{address}'\nrecovery_target_timeline = 'latest'\n")
        (folder / "standby.signal").touch()
        _give(folder, self._programs[number].user)

    async def copy(self, number: int, other: int) -> None:
        """Make the data of a server from those of another that runs, and start it as its standby."""
        program, folder = self._programs[number], self._folders[number]
        shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        _give(folder, program.user)
        binary = Path(program.argv[0]).with_name("pg_basebackup")
        argv = [str(binary), "-D", str(folder), "-d", self.dsn(other), "-c", "fast", "-X", "stream", "-R"]
        await asyncio.to_thread(
            subprocess.run,
            argv,
            check=True,
            capture_output=True,
            timeout=_SECONDS_MAX,
            user=program.user,
            group=program.user,
            extra_groups=[] if program.user else None,
        )
        await self.start(number)

    async def promote(self, number: int) -> None:
        """Make a standby the primary."""
        await self.ask(number, "SELECT pg_promote(true, 30)")

        async def writable() -> bool:
            return not await self.ask(number, "SELECT pg_is_in_recovery()")

        await eventually(writable, within=30)

    async def fail_over(self) -> None:
        """Let 1 become the primary and 0 its standby. The front still leads to 0."""
        await self.stop(0)
        await self.promote(1)
        self.follow(0, 1)
        await self.start(0)

    async def ask(self, number: int, sql: str) -> object:
        """Run a statement on one server, and return what it gives."""
        db = await asyncpg.connect(self.dsn(number), timeout=5)
        try:
            return await db.fetchval(sql)
        finally:
            await db.close()

    async def end(self) -> None:
        """End what runs."""
        await self.front.close()
        for process in self._processes.values():
            await process.end()


def _give(folder: Path, user: str | int | None) -> None:
    if user is not None:
        for path in (folder, *folder.glob("*.conf"), *folder.glob("*.signal")):
            shutil.chown(path, user, user)


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Start a primary and a standby that streams from it."""
    async with AsyncExitStack() as stack:
        top = Path(tempfile.mkdtemp(prefix="countersign-pair-"))
        stack.callback(shutil.rmtree, top, ignore_errors=True)
        top.chmod(0o711)  # noqa: ASYNC240 - nothing else runs yet; PostgreSQL's user walks through it
        ports = list(free_ports(2))
        folders = [top / "first", top / "second"]
        programs = [
            postgres.program(folder, port=port, password=_PASSWORD, settings=postgres.FLEETING)
            for folder, port in zip(folders, ports, strict=True)
        ]
        found = Pair(programs, folders, ports)
        stack.push_async_callback(found.end)
        await found.start(0)
        await found.front.open()
        await found.copy(1, 0)
        yield found
