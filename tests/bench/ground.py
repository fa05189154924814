"""The ground that everything is measured on: servers of its own, people, our processes, bare loops, loads."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from deploy.local.checkout import CHECKOUT
from deploy.local.process import free_ports
from deploy.local.programs import POLICY
from deploy.local.topics import topics
from tests.bench.bare import PREFIX
from tests.bench.crowd import put_in
from tests.bench.meters import PARTITIONS, Ends, set_offsets
from tests.support.fleet import Fleet
from tests.support.servers import servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from deploy.local.process import Program
    from tests.support.fleet import Stop
    from tests.support.servers import Servers

STAGES = ("risk_evaluator", "verifier", "notifier")
READY_SECONDS = 60.0
_LAST_WORDS = 2_000


class OwnFleet(Fleet):
    """The services as their own programs, or under an instrument."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.instruments: dict[str, list[str]] = {}

    def pid(self, service: str) -> int:
        """Return the process id of a running service."""
        return self._processes[service, "0"].pid

    def _program(self, service: str, instance: str, stop: Stop | None) -> Program:
        program = super()._program(service, instance, stop)
        instrument = self.instruments.get(service)
        own = ["-m", f"services.{service}", "run"]
        how = own if instrument is None else ["-m", "tests.bench.instrumented", service, *instrument]
        return replace(program, argv=[sys.executable, *how])


@dataclass
class Running:
    """A bare loop or a load."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    async def result(self, within: float) -> dict[str, Any]:
        """Wait for the last line of a load."""
        async with asyncio.timeout(within):
            out, _ = await self.process.communicate()
        if self.process.returncode:
            raise RuntimeError(f"a load ended with {self.process.returncode}")
        said: dict[str, Any] = json.loads(out.splitlines()[-1])
        return said

    async def require_running(self, name: str) -> None:
        """Raise RuntimeError with its last words if it has ended by itself."""
        if self.process.returncode is not None and self.process.stderr is not None:
            said = (await self.process.stderr.read()).decode()
            raise RuntimeError(f"the bare {name} ended with {self.process.returncode}: {said[-_LAST_WORDS:]}")

    async def end(self) -> None:
        """End it."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(10):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


@dataclass
class Ground:
    """Servers, people and folders of one run."""

    servers: Servers
    folder: Path
    db: asyncpg.Connection[asyncpg.Record]
    ends: Ends
    people: int
    scale: float
    sns_port: int
    profiles: Path | None = None
    runs: count[int] = field(default_factory=count)
    _fleet: OwnFleet | None = None

    def scaled(self, number: int, least: int = 1) -> int:
        """Return a count as large as this run takes it."""
        return max(least, round(number * self.scale))

    # ours

    @property
    def fleet(self) -> OwnFleet:
        """Return our processes; the ports stay over restarts."""
        if self._fleet is None:
            sns = f"http://127.0.0.1:{self.sns_port}"
            self._fleet = OwnFleet(self.servers, self.folder, sns, policy=POLICY)
        return self._fleet

    @asynccontextmanager
    async def ours(
        self, *services: str, skip: bool = True, instruments: dict[str, list[str]] | None = None
    ) -> AsyncIterator[OwnFleet]:
        """Run services, with `skip` from the end of their topics on."""
        fleet = self.fleet
        fleet.instruments = dict(instruments or {})
        if self.profiles is not None:
            turn = next(self.runs)
            for service in services:
                where = self.profiles / f"{turn:02d}-{service}.prof"
                fleet.instruments.setdefault(service, []).extend(["--profile", str(where)])
        for service in services if skip else ():
            await self.to_end(f"countersign.{service}", "")
        try:
            await fleet.start_all(services)
            yield fleet
        finally:
            await fleet.end_all()

    async def to_end(self, group: str, prefix: str) -> None:
        """Set a group without members to the end of every topic."""
        await set_offsets(self.servers.kafka, group, [prefix + topic.name for topic in topics()], to_end=True)

    async def to_start(self, group: str, *names: str) -> None:
        """Set a group without members to the start of topics."""
        await set_offsets(self.servers.kafka, group, names, to_end=False)

    # bare loops and loads

    @asynccontextmanager
    async def bare(self, *stages: str, skip: bool = True) -> AsyncIterator[dict[str, Running]]:
        """Run bare loops, from the end of their topics on."""
        running: dict[str, Running] = {}
        try:
            for stage in stages:
                if skip:
                    await self.to_end(f"bench.{stage}", PREFIX)
                running[stage] = await self._bare(stage)
            yield running
        except Exception:
            for stage, one in running.items():
                await one.require_running(stage)
            raise
        finally:
            for one in running.values():
                await one.end()

    async def _bare(self, stage: str) -> Running:
        self.fleet._secrets_of(stage)  # noqa: SLF001 - the fleet of this very bench
        arguments = ["--bootstrap", self.servers.kafka, "--dsn", self.servers.postgres_dsn]
        arguments += ["--secrets", str(self.folder / f"{stage}.json"), "--port", str(self.verifier_port)]
        arguments += ["--sns", f"http://127.0.0.1:{self.sns_port}"]
        argv = ["-m", "tests.bench.bare", stage, *arguments]
        with (self.folder / f"bare-{stage}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *argv, stdout=log, stderr=asyncio.subprocess.PIPE, cwd=CHECKOUT
            )
        await _said_ready(process.stderr)
        return Running(process)

    @property
    def verifier_port(self) -> int:
        """Return the port of the verifier's routes, ours or the bare one's."""
        return int(self.fleet.url("verifier").rpartition(":")[2])

    async def load(self, kind: str, *, prefix: str = "", **options: Any) -> Running:
        """Start a load; those that play the phones are waited for until they listen."""
        given = {
            "bootstrap": self.servers.kafka,
            "verifier": f"http://127.0.0.1:{self.verifier_port}",
            "bearer": self.fleet.bearer,
            "people": self.people,
            "sns-port": self.sns_port,
            "prefix": prefix,
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        argv = ["-m", "tests.bench.load", kind]
        for name, value in given.items():
            if value is True:
                argv.append(f"--{name}")
            elif value is not False:
                argv += [f"--{name}", str(value)]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *argv, stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT
        )
        if kind in {"flows", "provider"}:
            await _said_ready(process.stdout)
        return Running(process)

    async def until(self, progress: Callable[[], Awaitable[int]], number: int, within: float) -> None:
        """Wait until so much is done. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while await progress() < number:
                await asyncio.sleep(0.2)

    @property
    def postgres_pid(self) -> int:
        """Return the process id of our PostgreSQL; raises KeyError for one of somebody else's."""
        return self.servers.pids["postgres"]

    async def publish(self, run: str, number: int, *, prefix: str = "", **options: Any) -> None:
        """Publish so many logins and wait until they lie on the topic."""
        load = await self.load("publish", prefix=prefix, run=run, count=number, **options)
        await load.result(600)


async def _said_ready(stream: asyncio.StreamReader | None) -> None:
    assert stream is not None
    async with asyncio.timeout(READY_SECONDS):
        while (line := await stream.readline()).strip() != b"ready":
            if not line:
                rest = await stream.read()
                raise RuntimeError(f"a bare loop or load did not start: {rest.decode()}")
            print(line.decode(), end="", file=sys.stderr)


async def _make_bench_topics(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        there = set(await admin.list_topics())
        config = {"message.timestamp.type": "LogAppendTime"}
        names = [PREFIX + topic.name for topic in topics()]
        new = [NewTopic(name, PARTITIONS, 1, topic_configs=config) for name in names if name not in there]
        if new:
            await admin.create_topics(new)
    finally:
        await admin.close()


async def _make_bench_tables(db: asyncpg.Connection[asyncpg.Record]) -> None:
    for service in STAGES:
        tables = await db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", service)
        await db.execute(f"DROP SCHEMA IF EXISTS bench_{service} CASCADE; CREATE SCHEMA bench_{service}")
        for row in tables:
            like = f"{service}.{row['tablename']} INCLUDING ALL"
            await db.execute(f"CREATE TABLE bench_{service}.{row['tablename']} (LIKE {like})")
    # The bare risk-evaluator learns no places: it finds those that our people know already.
    await db.execute("INSERT INTO bench_risk_evaluator.place SELECT * FROM risk_evaluator.place")


@asynccontextmanager
async def ground(*, people: int, scale: float, profiles: Path | None = None) -> AsyncIterator[Ground]:
    """Start everything that the rows stand on, and end it."""
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers(lasting=True))
        db = await asyncpg.connect(found.postgres_dsn)
        stack.push_async_callback(db.close)
        await put_in(db, found, people)
        await _make_bench_topics(found.kafka)
        await _make_bench_tables(db)
        await db.execute("VACUUM ANALYZE")
        ends = Ends(found.kafka)
        await ends.start()
        stack.push_async_callback(ends.stop)
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="countersign-bench-")))
        yield Ground(found, folder, db, ends, people, scale, free_ports(1)[0], profiles)
