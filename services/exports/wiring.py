"""How exports is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter

from countersign.client import AccessRequests, Grants
from countersign.operations.doctor.of_service import jwks_check, kafka_check
from countersign.runtime.database.budget import Budget
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.program.frame import Parts, Service
from countersign.runtime.web.http import Site, application
from services.exports import retention
from services.exports.contacts import seed
from services.exports.due import Ending, Writing
from services.exports.fold import ObeyDecisions
from services.exports.http import Routes
from services.exports.settings import ExportsSettings, limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from prometheus_client import CollectorRegistry

    from countersign.runtime.program.frame import Check, Frame


def exports_counter(registry: CollectorRegistry) -> Counter:
    """Return the counter of exports."""
    return Counter(
        "countersign_exports_total",
        "Exports by what became of them: granted, denied, late, ready, expired. If `granted` grows and `ready` does "
        "not, files are not written: look for `due_act_failed` in the log.",
        ("outcome",),
        registry=registry,
    )


@asynccontextmanager
async def wire(frame: Frame[ExportsSettings]) -> AsyncIterator[Parts]:
    """One fold, three kinds of due work, the routes."""
    settings = frame.settings
    requests = AccessRequests("exports")
    routes = Routes(frame.pool, frame.publisher, requests, settings, frame.log, frame.checkpoint)
    http = settings.http
    app = application(routes.routes(), http.callers, metrics=frame.metrics, log=frame.log)
    counter = exports_counter(frame.metrics.registry)
    writing = Writing(frame.pool, settings.files.offered, counter)
    async with (
        Grants(settings.jwks_url, issuer=settings.issuer, audience=settings.audience) as grants,
        grants.keeping_fresh(partial(frame.health.tell, "verifier.keys")),
    ):
        yield Parts(
            folds=(ObeyDecisions(grants, settings.files.written_within, writing.waker, counter, frame.log),),
            dues=(writing,),
            small_dues=(Ending(counter), Sweep(retention.RULES)),
            sites=(Site(app, http.host, http.port, connections=http.connections),),
        )


def checks(settings: ExportsSettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("exports", settings.kafka), jwks_check(settings.jwks_url)]


SERVICE = Service(
    name="exports", settings=ExportsSettings, wire=wire, limits=limits, seed=seed, checks=checks, budget=Budget(loops=1)
)
