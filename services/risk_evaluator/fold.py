"""Access requests become assessments."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from countersign.contract import AccessAssessed, AccessRequested, base64url, canonical, reader
from countersign.places import place_of
from countersign.runtime.cloudevents import write
from countersign.runtime.errors import OffContract
from services.risk_evaluator import store
from services.risk_evaluator.decide import assess, is_conflict, is_repeated

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    import structlog
    from prometheus_client import Counter

    from countersign.policy import Policy
    from countersign.runtime.keys import Key, KeyRing
    from countersign.runtime.postgres import Connection
    from countersign.runtime.record import Incoming, Outgoing
    from services.risk_evaluator.model import Assessment, Beliefs

SOURCE = "risk_evaluator"


class AssessRequests:
    """One assessment a request: the rules, applied to what is held about the user and the place."""

    topic = AccessRequested.topic
    dedupes_by_key = True
    parse = staticmethod(reader(AccessRequested))

    def __init__(
        self, policy: Policy, keys: KeyRing, counter: Counter, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._counter = counter
        self._log = log

    def keys(self, incoming: Incoming[AccessRequested]) -> tuple[Hashable, ...]:
        return (incoming.event.request_id,)

    async def load(
        self, db: Connection, events: Sequence[Incoming[AccessRequested]]
    ) -> tuple[Mapping[UUID, Beliefs], datetime]:
        self._keys.refresh()
        rules = self._policy.places
        asked = [(incoming.event, place_of(incoming.event.client.ip, rules)) for incoming in events]
        return await store.beliefs_about(db, asked, rules)

    def decide(
        self, incoming: Incoming[AccessRequested], state: Mapping[UUID, Beliefs], now: datetime
    ) -> Assessment | None:
        beliefs = state[incoming.event.request_id]
        if is_repeated(incoming.event, beliefs):
            return None
        if is_conflict(incoming.event, beliefs):
            raise OffContract("request_id: assessed before with another account, user, action or digest")
        return assess(incoming, beliefs, self._policy, now)

    async def save(self, db: Connection, outcomes: Sequence[Assessment], now: datetime) -> list[Outgoing]:
        first = await store.save_assessments(db, outcomes, self._policy.stamp)
        key = self._keys.current(now)
        return [
            write(
                signed(assessment, self._policy.stamp, key),
                source=SOURCE,
                time=now,
                traceparent=assessment.traceparent,
            )
            for assessment in outcomes
            if assessment.request.request_id in first
        ]

    def committed(self, outcomes: Sequence[Assessment]) -> None:
        for assessment in outcomes:
            request = assessment.request
            self._counter.labels(request.action, assessment.outcome).inc()
            self._log.info(
                "assessed",
                request_id=str(request.request_id),
                account_id=str(request.account_id),
                action=request.action,
                outcome=assessment.outcome,
                reasons=assessment.reasons,
            )


def signed(assessment: Assessment, policy_version: str, key: Key) -> AccessAssessed:
    """Return the event with a MAC over all its other fields, so that a forged assessment shows."""
    request = assessment.request
    event = AccessAssessed(
        request_id=request.request_id,
        account_id=request.account_id,
        user_id=request.user_id,
        action=request.action,
        client=request.client,
        digest=request.digest,
        summary=request.summary,
        number_id=request.number_id,
        outcome=assessment.outcome,
        reasons=list(assessment.reasons),
        place=assessment.place,
        place_known=assessment.place_known,
        policy_version=policy_version,
        requested_at=assessment.requested_at,
        key_id=key.key_id,
        mac="A" * 43,
    )
    covered = canonical(event.model_dump(mode="json", exclude={"mac"}))
    return event.model_copy(update={"mac": base64url(hmac.digest(key.secret, covered, "sha256"))})
