"""The command line's `replay` with the settings of a risk-evaluator, and a look at what that service holds."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from countersign import cli
from deploy.local.postgres import OPERATOR
from tests.support.evaluator import evaluating
from tests.support.evaluator_settings import NO_JWKS, give_settings
from tests.support.events import an_access_requested, clock, outgoing
from tests.support.kafka import eventually, publish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from pathlib import Path

    import pytest

    from countersign.contract import AccessRequested
    from tests.support.servers import Servers

SERVICE, TOPIC = "risk_evaluator", "access.requests.v1"
WHY = ("--reason", "a test", "--who", "ann@bastion", "--confirm", TOPIC)
MANY = 300
STALE = timedelta(minutes=10)
# What tells of replays themselves, and what the service's own loops may touch.
OWN = {"replay", "replay_partition", "operation"}


@dataclass
class Desk:
    """The command line, as the operator has it, and a look at the service's tables."""

    servers: Servers
    db: asyncpg.Connection
    folder: Path
    capsys: pytest.CaptureFixture[str]
    since: datetime

    async def call(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run a command; return its code, the JSON that it printed, and everything else."""
        self.capsys.readouterr()
        code = await asyncio.to_thread(cli.main, ["replay", *arguments])
        printed = self.capsys.readouterr()
        rows = [json.loads(line) for line in printed.out.splitlines() if line.startswith("{")]
        return code, rows, printed.out + printed.err

    async def plan(self, name: str = "plan.json", *more: str, code: int = 0) -> Path:
        """Plan a replay of what was published since the test began."""
        file = self.folder / name
        asked = ("--service", SERVICE, "--topic", TOPIC, "--since", self.since.isoformat(), "-o", str(file))
        ended, _, words = await self.call("plan", *asked, "--json", *more)
        assert ended == code, words
        return file

    async def begin(self, file: Path, *more: str) -> tuple[int, list[dict[str, Any]], str]:
        return await self.call("run", str(file), *WHY, "--json", *more)

    async def status(self) -> dict[str, Any]:
        """Return the newest replay as `status` prints it."""
        _, rows, _ = await self.call("status", "--json", "--service", SERVICE)
        return rows[0]

    async def tables(self) -> dict[str, list[Any]]:
        """Return all rows of the service's tables but those about replays."""
        names = await self.db.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", SERVICE)
        return {
            row["tablename"]: await self.db.fetch(f"SELECT * FROM {row['tablename']} AS t ORDER BY t::text")
            for row in names
            if row["tablename"] not in OWN
        }

    async def assessed(self, requests: Sequence[AccessRequested]) -> int:
        ids = [request.request_id for request in requests]
        return int(await self.db.fetchval("SELECT count(*) FROM assessment WHERE request_id = ANY($1)", ids))

    async def operations(self) -> list[asyncpg.Record]:
        return await self.db.fetch("SELECT command, who, reason, outcome::text FROM operation ORDER BY began_at")


@asynccontextmanager
async def a_desk(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Desk]:
    """Name servers and settings as for the service, and forget earlier replays."""
    give_settings(monkeypatch, tmp_path, servers, NO_JWKS)
    monkeypatch.setenv("OPERATOR_DSN", servers.dsn_of(OPERATOR))
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("OPERATOR_CONTEXT", "production")
    db = await asyncpg.connect(servers.postgres_dsn, server_settings={"search_path": SERVICE})
    await db.execute("TRUNCATE replay, replay_partition, operation; DELETE FROM outbox; DELETE FROM dead_letter")
    yield Desk(servers, db, tmp_path, capsys, clock())
    await db.close()


def stale_request() -> tuple[AccessRequested, Any]:
    request = an_access_requested()
    return request, outgoing(request, at=clock() - STALE)


async def decided(desk: Desk, count: int) -> list[AccessRequested]:
    """Publish requests and let the service assess them all; it has ended when this returns."""
    requests = [an_access_requested() for _ in range(count)]
    async with evaluating(desk.servers):
        await publish(desk.servers.kafka, *(outgoing(request) for request in requests))

        async def all_assessed() -> bool:
            return await desk.assessed(requests) == count

        await eventually(all_assessed, within=60)

        async def published() -> bool:
            return await desk.db.fetchval("SELECT count(*) FROM outbox") == 0

        await eventually(published)
    return requests


async def never_decided(desk: Desk, count: int) -> list[AccessRequested]:
    """Publish requests that are stale before anybody reads them."""
    made = [stale_request() for _ in range(count)]
    await publish(desk.servers.kafka, *(record for _, record in made))
    return [request for request, _ in made]
