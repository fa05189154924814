"""A stage for faults: servers of its own, an SNS that answers as it is told, six processes, and people."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg

from tests.support.breakable import Breakable, breakable
from tests.support.checker import violations
from tests.support.drive import Driver, driver_of
from tests.support.fleet import SERVICES, Fleet, fleet_of
from tests.support.rest import come_to_rest
from tests.support.sns_stand_in import SnsStandIn, sns_stand_in
from tests.support.world import seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.clocks import Clock
    from tests.support.world import World

# As shipped, but for two: nobody waits 20 s for the next text, and computers of this machine's networks are places.
_POLICY = {
    "version": "faults-1",
    "places": {"unusable": ["0.0.0.0/8", "224.0.0.0/4"]},
    "texts": {"gap": "PT0S", "number_hourly_max": 6, "countries": None},
}
# Eight digits, so that a search for a code finds no other number.
_SETTINGS = {"verifier": {"CODE__DIGITS": "8"}}


@dataclass
class Stage:
    """What a fault test stands on."""

    broken: Breakable
    fleet: Fleet
    driver: Driver
    sns: SnsStandIn
    db: asyncpg.Pool[asyncpg.Record]
    policy: Path

    async def rest(self) -> World:
        """Wait until nothing is left to do, and look at everything."""
        await come_to_rest(self.fleet.servers.kafka, self.db)
        return await self.look()

    async def look(self) -> World:
        """Look at everything as it is."""
        return await seen(self.fleet, self.driver, self.sns, self.policy)

    async def checked(self) -> tuple[World, list[str]]:
        """Come to rest and check."""
        world = await self.rest()
        return world, violations(world)


@asynccontextmanager
async def a_stage(
    folder: Path,
    clocks: Mapping[str, Clock] | None = None,
    log_level: str = "INFO",
    over: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[Stage]:
    """Set a stage, some services' clocks wrong, `over` their settings; at the end nothing of it is left."""
    policy = folder / "policy.yaml"
    policy.write_text(json.dumps(_POLICY))
    async with AsyncExitStack() as stack:
        broken = await stack.enter_async_context(breakable())
        sns = await stack.enter_async_context(sns_stand_in())
        db = await stack.enter_async_context(asyncpg.create_pool(broken.servers.postgres_dsn, min_size=1, max_size=4))
        settings = {
            name: {"LOG_LEVEL": log_level, **_SETTINGS.get(name, {}), **(over or {}).get(name, {})} for name in SERVICES
        }
        fleet = Fleet(broken.servers, folder, sns.url, policy=policy, settings=settings, clocks=clocks)
        await stack.enter_async_context(fleet_of(fleet))
        driver = await stack.enter_async_context(driver_of(fleet, sns, db))
        yield Stage(broken, fleet, driver, sns, db, policy)
