"""The risk-evaluator's folds and tables, by hand, on a real PostgreSQL."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter

from countersign.policy import PlaceRules, Policy
from countersign.runtime.folding.dead_letter import LetterReports
from countersign.runtime.keys import KeyRing, KeySettings
from countersign.runtime.watching.metrics import Metrics
from services.risk_evaluator.fold import AssessRequests
from services.risk_evaluator.model import Lesson
from services.risk_evaluator.store_places import LIVE
from tests.support.events import an_access_requested, clock, incoming

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.contract import AccessRequested
    from countersign.runtime.database.postgres import Connection as Db
    from countersign.runtime.messages.record import Incoming
    from services.risk_evaluator.model import Assessed
    from tests.support.members import Member
    from tests.support.servers import Servers

POLICY = Policy(version="test", places=PlaceRules(unusable=()))
PLACE = "203.0.113.7/32"
HOUR = timedelta(hours=1)


@asynccontextmanager
async def connected(servers: Servers) -> AsyncIterator[Db]:
    db = await asyncpg.connect(servers.dsn_of("risk_evaluator"))
    try:
        yield db
    finally:
        await db.close()


def a_fold(servers: Servers, policy: Policy = POLICY, metrics: Metrics | None = None) -> AssessRequests:
    keys = [KeySettings.model_validate(key) for key in servers.secrets["risk_evaluator"]["assessment_keys"]]
    counter = Counter("test", "test", ("action", "outcome"), registry=CollectorRegistry())
    ring = KeyRing("assessment_keys", keys)
    return AssessRequests(
        policy, ring, counter, LetterReports(metrics or Metrics(), structlog.get_logger()), structlog.get_logger()
    )


def asked_by(member: Member, **over: Any) -> Incoming[AccessRequested]:
    return incoming(an_access_requested(account_id=member.account_id, user_id=member.user_id, **over))


def a_lesson(**over: Any) -> Lesson:
    fields: dict[str, Any] = {"account_id": uuid4(), "place": PLACE, "taught_by": uuid4(), "granted_at": clock()}
    return Lesson(**(fields | over))


async def is_known(servers: Servers, db: Db, member: Member, policy: Policy = POLICY) -> bool:
    asked = asked_by(member)
    state, _ = await a_fold(servers, policy).load(db, [asked])
    return state[asked.event.request_id].place_known


async def assessment_of(db: Db, asked: Incoming[AccessRequested]) -> Assessed:
    async with db.transaction():
        known, _ = await LIVE.assessed(db, [asked.event.request_id])
    return known[asked.event.request_id]


async def uses(db: Db, account_id: UUID) -> list[tuple[datetime, datetime]]:
    rows = await db.fetch("SELECT * FROM known_place WHERE account_id = $1 ORDER BY place, taught_by", account_id)
    return [(row["first_used_at"], row["last_used_at"]) for row in rows]
