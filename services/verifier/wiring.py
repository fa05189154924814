"""How the verifier is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from countersign import policy
from countersign.operations.doctor.of_service import kafka_check
from countersign.runtime.database.budget import Budget
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.keys import KeyRing
from countersign.runtime.program.frame import Parts, Service
from countersign.runtime.web.http import Site, application
from services.verifier import retention
from services.verifier.challenges import Challenges
from services.verifier.crowd import Crowd
from services.verifier.database_time import DatabaseTime
from services.verifier.desk import Desk
from services.verifier.expiry import Expiry
from services.verifier.fold_assessments import AssessmentFold, CodeLimits
from services.verifier.fold_deliveries import DeliveryFold
from services.verifier.grants import Signer
from services.verifier.http import Routes
from services.verifier.issue import Issuer
from services.verifier.journal import Journal
from services.verifier.limits import limits
from services.verifier.settings import VerifierSettings
from services.verifier.unsettled import UnsettledTexts
from services.verifier.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from aiohttp import web

    from countersign.runtime.program.frame import Check, Frame


@asynccontextmanager
async def wire(frame: Frame[VerifierSettings]) -> AsyncIterator[Parts]:
    """Yield the verifier's components; nothing needs closing."""
    settings, desk = frame.settings, desk_of(frame)
    rules = policy.load(settings.policy_file)
    frame.log.info("policy_loaded", policy_version=rules.stamp)
    # A ring without a key in its time would turn every request away: better not to start.
    now = await frame.pool.fetchval("SELECT now()")
    desk.signer.check(now)
    desk.issuer.check(now)
    assessment_keys = KeyRing("assessment_keys", settings.assessment_keys)
    frame.metrics.keys.show(assessment_keys)
    assessments = AssessmentFold(
        assessment_keys=assessment_keys,
        desk=desk,
        requests=rules.requests,
        codes=CodeLimits(settings.code.lifetime, settings.code.attempts_max, settings.code.digits),
    )
    yield Parts(
        folds=(assessments, DeliveryFold(desk)),
        dues=(Expiry(desk, UnsettledTexts(frame.metrics.registry)),),
        small_dues=(Sweep(retention.RULES),),
        sites=(_site(frame, desk),),
        background=(desk.waiters.run,),
    )


def desk_of(frame: Frame[VerifierSettings]) -> Desk:
    """Return what the parts of one process hold together."""
    settings = frame.settings
    grant_keys, code_keys = KeyRing("grant_keys", settings.grant_keys), KeyRing("code_keys", settings.code_keys)
    frame.metrics.keys.show(grant_keys, code_keys)
    signer = Signer(
        grant_keys,
        issuer=settings.grant.issuer,
        audience=settings.grant.audience,
        lifetime=settings.grant.lifetime,
    )
    issuer = Issuer(code_keys, settings.pepper.get_secret_value())
    return Desk(signer, issuer, Waiters(frame.pool), Journal(frame.log, frame.metrics.registry))


def challenges_of(frame: Frame[VerifierSettings], desk: Desk) -> Challenges:
    """Return the critical sections of challenges."""
    return Challenges(
        frame.pool,
        frame.publisher,
        desk=desk,
        digits=frame.settings.code.digits,
        checkpoint=frame.checkpoint,
        tracer=frame.tracer,
    )


def _site(frame: Frame[VerifierSettings], desk: Desk) -> Site:
    async def ask() -> datetime:
        time: datetime = await frame.pool.fetchval("SELECT now()")
        return time

    routes = Routes(
        challenges=challenges_of(frame, desk),
        waiters=desk.waiters,
        signer=desk.signer,
        answers=Crowd(),
        others=Crowd(),
        digits=frame.settings.code.digits,
        now=DatabaseTime(ask).now,
        checkpoint=frame.checkpoint,
    )
    http = frame.settings.http
    app = application(routes.routes(), http.callers, metrics=frame.metrics, log=frame.log)

    async def release(_app: web.Application) -> None:
        desk.waiters.release()

    app.on_shutdown.append(release)
    return Site(app, http.host, http.port, connections=http.connections)


def checks(settings: VerifierSettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("verifier", settings.kafka)]


SERVICE = Service("verifier", VerifierSettings, wire, limits, checks=checks, budget=Budget(loops=1, lanes=2))
