"""The parts of a verifier without their frame: what one process more would be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from countersign.runtime.checkpoint import nothing
from countersign.runtime.database.postgres import Link, open_pool
from countersign.runtime.program.frame import Frame, Parts
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from services.verifier.wiring import SERVICE, challenges_of, desk_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.checkpoint import Checkpoint
    from services.verifier.challenges import Challenges
    from services.verifier.settings import VerifierSettings


@asynccontextmanager
async def wired(
    settings: VerifierSettings, *, connections: int = 20, checkpoint: Checkpoint = nothing
) -> AsyncIterator[tuple[Parts, Challenges]]:
    """Yield the components of one more process, without its frame: they share nothing but the database."""
    dsn = settings.postgres.dsn.get_secret_value()
    log = structlog.get_logger()
    health, metrics = Health(), Metrics()
    publisher = Publisher(
        settings.kafka,
        link=Link(dsn, "verifier"),
        health=health,
        metrics=metrics,
        checkpoint=nothing,
        log=log,
    )
    pool = await open_pool(dsn, "verifier", connections)
    publishing = asyncio.get_running_loop().create_task(publisher.run())
    frame = Frame(settings, pool, publisher, health, metrics, log, checkpoint)
    other = Frame(settings, pool, publisher, Health(), Metrics(), log, nothing)
    try:
        async with SERVICE.wire(frame) as parts:
            yield parts, challenges_of(frame, desk_of(other))
    finally:
        publisher.stop()
        await publishing
        await pool.close()
