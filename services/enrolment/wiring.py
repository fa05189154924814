"""How enrolment is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter

from countersign import policy
from countersign.client import Grants
from countersign.runtime.frame import Limit, Parts, Service
from countersign.runtime.http import Site, application
from countersign.runtime.sweep import Sweep
from services.enrolment import decide, retention
from services.enrolment.fold import DecisionsFold, MembersFold
from services.enrolment.http import Routes
from services.enrolment.seed import seed
from services.enrolment.settings import EnrolmentSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from countersign.runtime.frame import Frame


@asynccontextmanager
async def wire(frame: Frame[EnrolmentSettings]) -> AsyncIterator[Parts]:
    """Two folds, the routes, and what erases old rows."""
    settings = frame.settings
    rules = policy.load(settings.policy_file)
    frame.log.info("policy_loaded", policy_version=rules.stamp)
    routes = Routes(frame.pool, frame.publisher, rules.switch.members_need)
    http = settings.http
    app = application(routes.all(), http.callers, metrics=frame.metrics, log=frame.log)
    counter = Counter(
        "countersign_members_total",
        "Words about members by what became of them: set, removed, pending (an owner's code is missing).",
        ("became",),
        registry=frame.metrics.registry,
    )
    async with Grants(settings.jwks_url, issuer=settings.issuer, audience=settings.audience) as grants:
        yield Parts(
            folds=(MembersFold(grants, settings.staff_account_id, counter), DecisionsFold(grants)),
            dues=(Sweep(retention.erase),),
            sites=(Site(app, http.host, http.port, connections=http.connections),),
        )


def limits(settings: EnrolmentSettings) -> Sequence[Limit]:
    """Return the policy's limits that enrolment goes by, and its own."""
    of_policy = [limit for limit in policy.load(settings.policy_file).limits() if limit[0].startswith("policy.switch")]
    return [
        *(Limit(*limit) for limit in of_policy),
        Limit(
            "numbers.code_looks_back",
            f"{decide.CODE_LOOKS_BACK.total_seconds():.0f} s",
            "a code lives at most 10 minutes (NIST SP 800-63B-4, 3.1.3.2), and one for what was under way",
        ),
        Limit("numbers.ended_kept", f"{retention.NUMBERS_KEPT_DAYS} days", "chosen: the notice to a replaced number"),
        Limit("grants.kept", f"{retention.GRANTS_KEPT_DAYS} days", "longer than any topic keeps a decision"),
    ]


SERVICE = Service(name="enrolment", settings=EnrolmentSettings, wire=wire, limits=limits, seed=seed)
