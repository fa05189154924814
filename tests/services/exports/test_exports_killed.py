"""The shipped process, killed with SIGKILL on the way from asking to the file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.local.checkout import CHECKOUT
from tests.services.exports.exporting import BEARER, ROUTES, Customer, Exporting, asking
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


class Process:
    """`python -m services.exports run`, with the settings of a test."""

    def __init__(self, exports: Exporting, folder: Path) -> None:
        self._exports = exports
        settings = exports.settings
        secrets = folder / "exports.json"
        callers = [{"name": "gateway", "token": BEARER, "routes": ROUTES}]
        http = {"port": settings.http.port, "callers": callers}
        dsn = settings.postgres.dsn.get_secret_value()
        secrets.touch(mode=0o600)
        secrets.write_text(json.dumps({"postgres": {"dsn": dsn}, "http": http}))
        self._environment = {
            "COUNTERSIGN_SECRETS_FILE": str(secrets),
            "COUNTERSIGN_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "COUNTERSIGN_JWKS_URL": settings.jwks_url,
        }
        self._running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        self._running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.exports", "run", cwd=CHECKOUT, env={**os.environ, **self._environment}
        )
        await eventually(self._answers, within=30)

    async def end(self, number: signal.Signals) -> int:
        assert self._running is not None
        self._running.send_signal(number)
        return await self._running.wait()

    async def _answers(self) -> bool:
        try:
            return (await self._exports.call("GET", "/v1/exports")).status == 405
        except OSError:
            return False


async def lapse(exports: Exporting) -> None:
    """Let every lease that a dead process holds be over."""
    await exports.pool.execute("UPDATE outbox SET leased_until = now()")
    await exports.pool.execute("UPDATE export SET leased_until = now() WHERE state = 'granted'")


async def decided(exports: Exporting, export_id: UUID) -> None:
    """Wait until the grant is spent, whatever else has happened by then."""

    async def spent() -> bool:
        found = await exports.pool.fetchval("SELECT state FROM export WHERE export_id = $1", export_id)
        return bool(found != "waiting")

    async with asyncio.timeout(30):
        while not await spent():  # noqa: ASYNC110 - the row is another process's, and the moment is short
            await asyncio.sleep(0)


async def asked_and_killed(exports: Exporting, process: Process) -> tuple[Customer, UUID]:
    customer = await exports.a_customer(rows=50)
    export_id = await exports.ask(customer)
    await process.end(signal.SIGKILL)
    return customer, export_id


async def test_killed_after_asking_and_after_the_grant_it_still_writes_the_file(
    servers: Servers, tmp_path: Path
) -> None:
    """The page that asked is closed meanwhile and finds its file in the end, once."""
    async with asking(servers) as exports:
        process = Process(exports, tmp_path)
        await process.start()
        customer, export_id = await asked_and_killed(exports, process)
        await lapse(exports)
        await process.start()
        request = await exports.requested(export_id)
        await exports.publish(exports.granted(request))
        await decided(exports, export_id)
        await process.end(signal.SIGKILL)
        await lapse(exports)
        await process.start()
        await exports.becomes(customer, export_id, "ready", within=30)
        assert len((await exports.file(customer, export_id)).body.splitlines()) == 51
        assert await process.end(signal.SIGTERM) == 0
