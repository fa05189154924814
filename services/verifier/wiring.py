"""How the verifier is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from countersign.runtime.frame import Parts, Service
from countersign.runtime.http import Site, application
from countersign.runtime.keys import KeyRing
from services.verifier.challenges import Challenges
from services.verifier.crowd import Crowd
from services.verifier.expiry import Expiry, Retention
from services.verifier.fold_assessments import AssessmentFold, CodeLimits
from services.verifier.fold_deliveries import DeliveryFold
from services.verifier.grants import Signer
from services.verifier.http import Routes
from services.verifier.issue import Issuer
from services.verifier.journal import Journal
from services.verifier.limits import limits
from services.verifier.model import RequestLimits
from services.verifier.settings import VerifierSettings
from services.verifier.waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from aiohttp import web

    from countersign.runtime.frame import Frame


@asynccontextmanager
async def wire(frame: Frame[VerifierSettings]) -> AsyncIterator[Parts]:
    """Lend out the parts; nothing of the verifier's needs closing."""
    settings = frame.settings
    signer = Signer(
        KeyRing("grant_keys", settings.grant_keys),
        issuer=settings.grant.issuer,
        audience=settings.grant.audience,
        lifetime=settings.grant.lifetime,
    )
    issuer = Issuer(KeyRing("code_keys", settings.code_keys), settings.pepper.get_secret_value())
    waiters = Waiters(frame.pool)
    journal = Journal(frame.log, frame.metrics.registry)
    assessments = AssessmentFold(
        assessment_keys=KeyRing("assessment_keys", settings.assessment_keys),
        issuer=issuer,
        signer=signer,
        requests=RequestLimits(settings.request.age_max, settings.request.future_max),
        codes=CodeLimits(settings.code.lifetime, settings.code.attempts_max, settings.code.digits),
        waiters=waiters,
        journal=journal,
    )
    challenges = Challenges(
        frame.pool,
        frame.publisher,
        signer=signer,
        issuer=issuer,
        waiters=waiters,
        journal=journal,
        digits=settings.code.digits,
        checkpoint=frame.checkpoint,
    )
    yield Parts(
        folds=(assessments, DeliveryFold(signer=signer, waiters=waiters, journal=journal)),
        dues=(Expiry(signer, journal), Retention()),
        sites=(_site(frame, challenges, waiters, signer),),
        background=(waiters.run,),
    )


def _site(frame: Frame[VerifierSettings], challenges: Challenges, waiters: Waiters, signer: Signer) -> Site:
    async def now() -> datetime:
        time: datetime = await frame.pool.fetchval("SELECT now()")
        return time

    routes = Routes(
        challenges=challenges,
        waiters=waiters,
        signer=signer,
        answers=Crowd(),
        others=Crowd(),
        digits=frame.settings.code.digits,
        now=now,
        checkpoint=frame.checkpoint,
    )
    http = frame.settings.http
    app = application(routes.routes(), http.callers, metrics=frame.metrics, log=frame.log)

    async def release(_app: web.Application) -> None:
        waiters.release()

    app.on_shutdown.append(release)
    return Site(app, http.host, http.port)


SERVICE = Service("verifier", VerifierSettings, wire, limits)
