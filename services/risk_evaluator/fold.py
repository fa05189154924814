"""Access requests become assessments."""

from __future__ import annotations

import hmac
from collections import Counter as Counted
from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.contract import AccessAssessed, AccessRequested, base64url, canonical, reader, req_of
from countersign.places import place_of
from countersign.runtime.folding import dead_letter
from countersign.runtime.folding.dead_letter import DeadLetter, LetterReports
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import AT_ONCE, always
from countersign.runtime.messages.cloudevents import write_raw
from services.risk_evaluator import store
from services.risk_evaluator.decide import assess, clock_error, conflict, denial, is_repeated
from services.risk_evaluator.model import Disputed

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    import structlog
    from prometheus_client import Counter

    from countersign.policy import Policy
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import Key, KeyRing
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.risk_evaluator.model import Assessment, Beliefs

SOURCE = "risk_evaluator"
# A MAC of the form that the contract asks for, until the real one takes its place in what leaves.
UNSIGNED = "A" * 43


@dataclass(frozen=True, slots=True)
class Answer:
    """The assessment, and `value`, its JSON as it is to leave: only that carries the MAC."""

    event: AccessAssessed
    value: bytes
    traceparent: str | None
    request: Record
    clock_error: timedelta | None


class AssessRequests:
    """One assessment a request: the rules, applied to what is held about the user and the place."""

    topic = AccessRequested.topic
    dedupes_by_key = True
    delay_ms_max = AT_ONCE
    saves_at_once = staticmethod(always)
    parse = staticmethod(reader(AccessRequested))

    def __init__(
        self,
        policy: Policy,
        keys: KeyRing,
        counter: Counter,
        letters: LetterReports,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._policy = policy
        self._policy_version = policy.stamp
        self._keys = keys
        self._counter = counter
        self._letters = letters
        self._log = log

    @property
    def stale_after(self) -> timedelta | None:
        return self._policy.requests.age_max

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
    ) -> Answer | None:
        beliefs = state[incoming.event.request_id]
        if is_repeated(incoming, beliefs):
            return None
        assessment = assess(incoming, beliefs, self._policy, now)
        key = self._keys.current(now)
        event = assessed_event(incoming, beliefs, assessment, self._policy_version, key.key_id)
        return Answer(
            event,
            signed(event, key),
            incoming.traceparent,
            incoming.record,
            clock_error(incoming, self._policy, now),
        )

    async def save(self, db: Connection, outcomes: Sequence[Answer | Disputed], now: datetime) -> Kept:
        """Store what is new, and mark as disputed under whose ids other requests came."""
        if disputed := [one.request_id for one in outcomes if isinstance(one, Disputed)]:
            await store.dispute(db, disputed)
        answers = [one for one in outcomes if isinstance(one, Answer)]
        due = {
            answer.event.request_id: write_raw(
                answer.event, answer.value, source=SOURCE, time=now, traceparent=answer.traceparent
            )
            for answer in answers
        }
        kept, new = await store.save_assessments(db, [answer.event for answer in answers], due)
        await self._keep_conflicts(db, [answer for answer in answers if answer.event.request_id not in new])
        return kept

    async def _keep_conflicts(self, db: Connection, lost: Sequence[Answer]) -> None:
        """Keep dead letters of requests that were not saved, because another one under their id was saved first."""
        if not lost:
            return
        conflicting = await store.conflicting(db, [answer.event for answer in lost])
        letters = [
            DeadLetter.of(answer.request, conflict(answer.event.request_id))
            for answer in lost
            if answer.event.request_id in conflicting
        ]
        if letters:
            async with db.transaction():
                await store.dispute(db, sorted(conflicting))
                await dead_letter.keep(db, letters)
            for letter in letters:
                self._letters.report(letter)

    def effect(self, outcome: Answer | Disputed) -> Effect:
        """Say what the verifier makes of it: a text with a code for `challenge`, a grant for `allow`."""
        if isinstance(outcome, Disputed):
            return Effect("request disputed")
        match outcome.event.outcome:
            case "challenge":
                return Effect("text", forbidden=True)
            case "allow":
                return Effect("grant", forbidden=True)
            case "deny":
                return Effect(f"denied {denial(outcome.event.reasons)}")

    def committed(self, outcomes: Sequence[Answer | Disputed]) -> None:
        answers = [one for one in outcomes if isinstance(one, Answer)]
        for words, count in Counted((answer.event.action, answer.event.outcome) for answer in answers).items():
            self._counter.labels(*words).inc(count)
        for answer in answers:
            event = answer.event
            self._log.info(
                "assessed",
                request_id=str(event.request_id),
                account_id=str(event.account_id),
                user_id=str(event.user_id),
                action=event.action,
                outcome=event.outcome,
                reasons=event.reasons,
            )
            if answer.clock_error is not None:
                self._warn_of_clock(answer, answer.clock_error.total_seconds())

    def _warn_of_clock(self, answer: Answer, seconds_ahead: float) -> None:
        fast = "the producer's clock is ahead of the broker's"
        slow = "the producer's clock is behind the broker's, or it held the request back"
        self._log.warning(
            "producer_clock_wrong",
            source=(answer.request.header("ce_source") or b"").decode(errors="replace"),
            request_id=str(answer.event.request_id),
            account_id=str(answer.event.account_id),
            user_id=str(answer.event.user_id),
            seconds_ahead=round(seconds_ahead, 1),
            words=fast if seconds_ahead > 0 else slow,
        )


def assessed_event(
    incoming: Incoming[AccessRequested], beliefs: Beliefs, assessment: Assessment, policy_version: str, key_id: str
) -> AccessAssessed:
    """Return the request with what the rules say; not signed yet."""
    request = incoming.event
    return AccessAssessed(
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
        place=beliefs.place,
        place_known=beliefs.place_known,
        policy_version=policy_version,
        requested_at=incoming.made_at,
        req=req_of(incoming.record.value or b""),
        key_id=key_id,
        mac=UNSIGNED,
    )


def signed(event: AccessAssessed, key: Key) -> bytes:
    """Return the event's JSON with a MAC over all its other fields, so that a forged assessment shows."""
    covered = canonical(event.model_dump(mode="json", exclude={"mac"}))
    mac = base64url(hmac.digest(key.secret, covered, "sha256"))
    return b'%b,"mac":"%b"}' % (covered[:-1], mac.encode())
