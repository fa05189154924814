"""A service's parts without the service: its folds for a command that reads, with nothing that serves or publishes."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO, TypeVar

from countersign.runtime.checkpoint import nothing
from countersign.runtime.database import leases, postgres
from countersign.runtime.folding.recheck import recheck
from countersign.runtime.program.frame import Frame
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.settings import ServiceSettings
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import structlog

    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.program.frame import Service

S = TypeVar("S", bound=ServiceSettings)


@asynccontextmanager
async def folds_of(
    service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger
) -> AsyncIterator[tuple[Mapping[str, AnyFold], Link]]:
    """Wire a service and lend its folds by topic, with a connection of its role. The publisher is never started."""
    dsn = settings.postgres.dsn.get_secret_value()
    link = postgres.Link(dsn, service.name, parameters=leases.parameters(settings.leases))
    pool = await postgres.open_pool(dsn, service.name)
    health, metrics = Health(), Metrics()
    publisher = Publisher(settings.kafka, link=link, health=health, metrics=metrics, checkpoint=nothing, log=log)
    try:
        frame = Frame(settings, pool, publisher, health, metrics, log, nothing)
        async with service.wire(frame) as parts:
            yield {fold.topic: fold for fold in parts.folds}, link
    finally:
        await link.close()
        await pool.close()


async def check_letters(
    service: Service[S], settings: S, log: structlog.typing.FilteringBoundLogger, out: TextIO
) -> int:
    """Print what today's code makes of each new dead letter, a JSON object a line; return how many would fail."""
    failing = 0
    async with folds_of(service, settings, log) as (folds, link), link.use() as db:
        async for checked in recheck(db, folds):
            failing += checked.cause is not None
            out.write(json.dumps({"letter": asdict(checked)}) + "\n")
    return failing
