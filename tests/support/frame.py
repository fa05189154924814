"""Runs a service in the test's own process, with the real frame, on the real servers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from countersign.runtime.checkpoint import Checkpoint, nothing
from countersign.runtime.program.service import serving
from countersign.runtime.settings import ServiceSettings
from deploy.local.layout import SERVICES
from tests.support.kafka import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.program.frame import Service
    from countersign.runtime.program.machine import Machine

S = TypeVar("S", bound=ServiceSettings)


@asynccontextmanager
async def running(
    service: Service[S], settings: S, *, checkpoint: Checkpoint = nothing, log: Any = None, ready: bool = True
) -> AsyncIterator[Machine]:
    """Run a service until the body ends; with `ready`, wait until nothing keeps it from being ready."""
    logger = log if log is not None else structlog.get_logger().bind(service=service.name)
    async with serving(service, settings, log=logger, checkpoint=checkpoint) as machine:
        if service.name in SERVICES:
            assert machine.links == service.budget.links, "the budget of connections does not say what is opened"
        if ready:

            async def is_ready() -> bool:
                return not machine.health.reasons

            await eventually(is_ready, within=30)
        yield machine
