"""How enrolment is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter

from countersign import policy
from countersign.client import AccessRequests, Grants
from countersign.operations.doctor.of_service import jwks_check, kafka_check
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.keys import KeyRing
from countersign.runtime.program.frame import Command, Parts, Service
from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import Limit
from countersign.runtime.web.http import Site, application
from services.enrolment import decide, retention
from services.enrolment.audit.verify import verify
from services.enrolment.fold import DecisionsFold, MembersFold
from services.enrolment.http import Routes
from services.enrolment.rekey import rekey
from services.enrolment.requests_seen.routes import LOOKED_BACK, REQUESTS_LISTED_MAX, RequestRoutes
from services.enrolment.seed import seed
from services.enrolment.settings import EnrolmentSettings
from services.enrolment.setup import decide as setup_rules
from services.enrolment.setup import opening
from services.enrolment.setup.numbers import NumberRoutes
from services.enrolment.setup.switch import SwitchRoutes
from services.enrolment.setup.tools import Tools
from services.enrolment.staff_acts import decide as act_rules
from services.enrolment.staff_acts.routes import ManagerRoutes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from prometheus_client import CollectorRegistry

    from countersign.runtime.program.frame import Check, Frame


_POLICY = ("policy.switch", "policy.exports", "policy.texts.countries")


def members_counter(registry: CollectorRegistry) -> Counter:
    """Return the counter of words about members."""
    return Counter(
        "countersign_members_total",
        "Words about members by what became of them: set, removed, pending (an owner's code is missing). If `pending` "
        "grows, owners do not confirm: see the log of enrolment.",
        ("became",),
        registry=registry,
    )


def exceeded_counter(registry: CollectorRegistry) -> Counter:
    """Return the counter of acts beyond the limit."""
    return Counter(
        "countersign_manager_acts_exceeded_total",
        "Acts refused because one account manager had made as many as are allowed in an hour. If it grows, ask that "
        "manager by another way whether it is them.",
        registry=registry,
    )


@asynccontextmanager
async def wire(frame: Frame[EnrolmentSettings]) -> AsyncIterator[Parts]:
    """Two folds, the routes, and what erases old rows."""
    settings = frame.settings
    rules = policy.load(settings.policy_file)
    frame.log.info("policy_loaded", policy_version=rules.stamp)
    http = settings.http
    counter = members_counter(frame.metrics.registry)
    exceeded = exceeded_counter(frame.metrics.registry)
    hold = rules.exports.hold
    ring = KeyRing("number_keys", settings.number_keys)
    frame.metrics.keys.show(ring)
    async with (
        Grants(settings.jwks_url, issuer=settings.issuer, audience=settings.audience) as grants,
        grants.keeping_fresh(partial(frame.health.tell, "verifier.keys")),
    ):
        tools = Tools(
            pool=frame.pool,
            publisher=frame.publisher,
            requests=AccessRequests("enrolment"),
            grants=grants,
            ring=ring,
            fingerprint_key=settings.fingerprint_key.get_secret_value(),
            hold=hold,
            countries=rules.texts.countries,
            members_need=rules.switch.members_need,
        )
        seen = Routes(frame.pool, frame.publisher, rules.switch.members_need)
        managers = ManagerRoutes(tools, settings.staff_account_id, exceeded, frame.log)
        routes = [*seen.all(), *NumberRoutes(tools).all(), *SwitchRoutes(tools).all(), *managers.all()]
        routes += RequestRoutes(frame.pool).all()
        app = application(routes, http.callers, metrics=frame.metrics, log=frame.log)
        yield Parts(
            folds=(MembersFold(grants, settings.staff_account_id, counter), DecisionsFold(grants, hold)),
            small_dues=(Sweep(retention.RULES),),
            sites=(Site(app, http.host, http.port, connections=http.connections),),
        )


def limits(settings: EnrolmentSettings) -> Sequence[Limit]:
    """Return the policy's limits that enrolment goes by, and its own."""
    of_policy = [limit for limit in policy.load(settings.policy_file).limits() if limit[0].startswith(_POLICY)]
    return [
        *(Limit(*limit) for limit in of_policy),
        Limit(
            "numbers.code_looks_back",
            f"{decide.CODE_LOOKS_BACK.total_seconds():.0f} s",
            "a code lives at most 10 minutes (NIST SP 800-63B-4, 3.1.3.2), and one for what was under way",
        ),
        Limit(
            "numbers.change_approved_for",
            str(setup_rules.CHANGE_APPROVED_FOR),
            "chosen: a text that does not come may be asked for again without a second code to the old number",
        ),
        Limit(
            "requests.opened_hourly_max",
            str(opening.OPENED_HOURLY_MAX),
            "chosen: a stolen session sends few texts to numbers of its choosing (OWASP ASVS 5.0, 6.6.3)",
        ),
        Limit(
            "manager_acts.hourly_max",
            str(act_rules.ACTS_HOURLY_MAX),
            "chosen: a console that somebody took over does little before it is noticed (log line and metric)",
        ),
        Limit(
            "manager_acts.second_within",
            str(act_rules.SECOND_WITHIN),
            "chosen: a second account manager looks at the same ticket on the same or the next day",
        ),
        Limit(
            "numbers.reset_lasts",
            str(act_rules.RESET_LASTS),
            "chosen: a day to log in and enter another number; afterwards an account manager resets it again",
        ),
        Limit("requests_seen.listed_max", str(REQUESTS_LISTED_MAX), "chosen: what is looked through during a call"),
        Limit("requests_seen.looked_back", str(LOOKED_BACK), "shorter than the 40 days for which steps are kept"),
        *retention_limits(retention.RULES),
    ]


def checks(settings: EnrolmentSettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("enrolment", settings.kafka), jwks_check(settings.jwks_url)]


COMMANDS: Sequence[Command[EnrolmentSettings]] = (
    Command("verify-audit", "compare the audit chain of every account with what its topic was told", verify),
    Command("rekey", "seal every number under the current key, so that older keys can be removed", rekey),
)
SERVICE = Service(
    name="enrolment", settings=EnrolmentSettings, wire=wire, limits=limits, seed=seed, commands=COMMANDS, checks=checks
)
