"""PostgreSQL changes its primary under a running service: routes, folds and readiness follow, and agree."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web

from countersign.runtime.program.frame import Frame, Parts, Service
from countersign.runtime.settings import HealthSettings, ServiceSettings
from countersign.runtime.web.http import Route, Site, application
from deploy.local.process import free_ports
from tests.support.failover import Pair, pair
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

MENDED_WITHIN = 20.0


class Written:
    """The toy with a route that writes through the pool, as the routes of the services do."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self._port, self._health_port = free_ports(2)

    @property
    def settings(self) -> ServiceSettings:
        return self.toy.settings().model_copy(update={"health": HealthSettings(port=self._health_port)})

    @property
    def service(self) -> Service[ServiceSettings]:
        @asynccontextmanager
        async def wire(frame: Frame[ServiceSettings]) -> AsyncIterator[Parts]:
            async def write(_request: web.Request) -> web.Response:
                async with frame.pool.acquire() as db, db.transaction():
                    await db.execute("INSERT INTO addition VALUES ($1, 'route', 1)", uuid4())
                return web.json_response({})

            app = application([Route("POST", "/write", write)], (), metrics=frame.metrics, log=structlog.get_logger())
            yield Parts(folds=[self.toy.fold], sites=[Site(app, "127.0.0.1", self._port)])

        return Service(self.toy.name, ServiceSettings, wire, lambda _settings: ())

    async def writes(self) -> int:
        """Return the status of a request that writes."""
        async with aiohttp.request("POST", f"http://127.0.0.1:{self._port}/write") as answer:
            return answer.status

    async def ready(self) -> bool:
        """Return what a balancer learns from /readyz."""
        async with aiohttp.request("GET", f"http://127.0.0.1:{self._health_port}/readyz") as answer:
            return answer.status == 200

    async def all_write(self) -> bool:
        """Return True if eight requests at once, one for each connection of the pool, are served."""
        return {await one for one in asyncio.as_completed([self.writes() for _ in range(8)])} == {200}


async def _laid(servers: Servers, found: Pair, dsn: str) -> Written:
    toy = await a_toy(replace(servers, postgres_dsn=found.dsn(0)))
    toy.dsn = dsn
    return Written(toy)


async def test_everything_follows_when_the_standby_is_promoted(servers: Servers) -> None:
    """Behind a virtual IP, and with both servers in the address: both lead to the old primary first."""
    async with pair() as found:
        behind = await _laid(servers, found, found.front_dsn)
        both = await _laid(servers, found, found.both_dsn)
        async with running(behind.service, behind.settings), running(both.service, both.settings):
            assert await behind.all_write()
            assert await both.all_write()
            await found.fail_over()
            await _hold_still(behind)
            await _unready_and_refusing(behind)
            found.shown = 1
            async with asyncio.timeout(MENDED_WITHIN):
                for each in (behind, both):
                    await eventually(each.all_write, within=MENDED_WITHIN)
                    await eventually(each.ready, within=MENDED_WITHIN)
            for each in (behind, both):
                each.toy.dsn = found.dsn(1)
                before = await each.toy.count()
                await publish(each.toy.servers.kafka, *(each.toy.added() for _ in range(5)))
                await eventually(lambda each=each, before=before: _counts(each.toy, before + 5), within=MENDED_WITHIN)


async def test_a_primary_that_turns_read_only_is_told_in_readiness(servers: Servers) -> None:
    """The sessions stay open and refuse writes: nobody is told that this service is well until they take them again."""
    async with pair() as found:
        site = await _laid(servers, found, found.dsn(0))
        async with running(site.service, site.settings):
            assert await site.all_write()
            await found.ask(0, "ALTER SYSTEM SET default_transaction_read_only = on")
            await found.ask(0, "SELECT pg_reload_conf()")
            await _unready_and_refusing(site)
            db = await asyncpg.connect(found.dsn(0), server_settings={"default_transaction_read_only": "off"})
            await db.execute("ALTER SYSTEM RESET default_transaction_read_only")
            await db.close()
            await found.ask(0, "SELECT pg_reload_conf()")
            await eventually(site.all_write, within=MENDED_WITHIN)
            await eventually(site.ready, within=MENDED_WITHIN)


async def _hold_still(site: Written) -> None:
    """Let the service open its connections to the old primary, which is a standby now."""
    for _ in range(20):
        await site.all_write()
        await asyncio.sleep(0.1)


async def _unready_and_refusing(site: Written) -> None:
    """Nothing is written, and readiness says the same within seconds."""

    async def refused() -> bool:
        return await site.writes() == 503 and not await site.ready()

    await eventually(refused, within=10)


async def _counts(toy: Toy, wanted: int) -> bool:
    return await toy.count() == wanted
