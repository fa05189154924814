"""How the risk-evaluator is put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import Counter
from pydantic import Field

from countersign import policy
from countersign.client import Grants
from countersign.operations.doctor.of_service import jwks_check, kafka_check
from countersign.policy import PolicyFile
from countersign.runtime.database.budget import Budget
from countersign.runtime.due_work.sweep import Sweep
from countersign.runtime.folding.dead_letter import LetterReports
from countersign.runtime.keys import KeyRing, KeySettings
from countersign.runtime.program.frame import Command, Parts, Service
from countersign.runtime.program.limits import retention_limits
from countersign.runtime.settings import Limit, ServiceSettings
from services.risk_evaluator import retention
from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY
from services.risk_evaluator.fold import AssessRequests
from services.risk_evaluator.places import ForgetPlaces, LearnPlaces
from services.risk_evaluator.rebuild.command import rebuild_places
from services.risk_evaluator.shadow.command import shadow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from prometheus_client import CollectorRegistry

    from countersign.runtime.program.frame import Check, Frame


JUDGED_BY = ("policy.version", "policy.requests.", "policy.places.", "policy.exports.")


class RiskEvaluatorSettings(ServiceSettings):
    """`assessment_keys` are shared with the verifier; `jwks_url` is where it publishes the keys of its grants."""

    policy_file: PolicyFile
    jwks_url: str
    issuer: str = "countersign"
    audience: str = "countersign"
    assessment_keys: list[KeySettings] = Field(min_length=1, repr=False)


def assessments_counter(registry: CollectorRegistry) -> Counter:
    """Return the counter of assessments."""
    return Counter(
        "countersign_assessments_total",
        "Assessments by action and outcome. If the share of `challenge` among log-ins is far above other days, places "
        "are lost or addresses change: `countersign trace` shows the reasons.",
        ("action", "outcome"),
        registry=registry,
    )


@asynccontextmanager
async def wire(frame: Frame[RiskEvaluatorSettings]) -> AsyncIterator[Parts]:
    """Three folds and a sweep."""
    settings = frame.settings
    rules = policy.load(settings.policy_file)
    keys = KeyRing("assessment_keys", settings.assessment_keys)
    counter = assessments_counter(frame.metrics.registry)
    frame.metrics.keys.show(keys)
    frame.log.info("policy_loaded", policy_version=rules.stamp)
    async with (
        Grants(settings.jwks_url, issuer=settings.issuer, audience=settings.audience) as grants,
        grants.keeping_fresh(partial(frame.health.tell, "verifier.keys")),
    ):
        yield Parts(
            folds=(
                AssessRequests(rules, keys, counter, LetterReports(frame.metrics, frame.log), frame.log),
                LearnPlaces(grants, rules.places),
                ForgetPlaces(),
            ),
            small_dues=(Sweep(retention.rules(rules.places.forget_after)),),
        )


def limits(settings: RiskEvaluatorSettings) -> Sequence[Limit]:
    """Return the limits of the policy that the rules go by, and our own."""
    rules = policy.load(settings.policy_file)
    return [
        *(Limit(*limit) for limit in rules.limits() if limit[0].startswith(JUDGED_BY)),
        Limit("places.written_every", str(PLACE_WRITTEN_EVERY), "chosen: nothing is judged by less than a day"),
        *retention_limits(retention.rules(rules.places.forget_after)),
    ]


def checks(settings: RiskEvaluatorSettings) -> Sequence[Check]:
    """Return what it needs beside PostgreSQL."""
    return [kafka_check("risk_evaluator", settings.kafka), jwks_check(settings.jwks_url)]


_ORDER = "cat order.json |"  # `countersign replay shadow` and `countersign rebuild` write it
_SHADOW = "judge recorded requests by another policy, as ordered on standard input; no effects"
_REBUILD = "make known places anew from the topics, as ordered on standard input"
COMMANDS: Sequence[Command[RiskEvaluatorSettings]] = (
    Command("shadow", _SHADOW, shadow, _ORDER),
    Command("rebuild-places", _REBUILD, rebuild_places, _ORDER),
)
SERVICE = Service(
    name="risk_evaluator",
    settings=RiskEvaluatorSettings,
    wire=wire,
    limits=limits,
    commands=COMMANDS,
    checks=checks,
    budget=Budget(pool=2, lanes=2),
)
