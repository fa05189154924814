"""access.assessments.v1: a request becomes a grant, a denial or a challenge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.contract import AccessAssessed, challenge_id_of, reader
from countersign.runtime.errors import KeyUnknownError, OffContractError
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import AT_ONCE, never
from countersign.runtime.publishing import outbox
from services.verifier import store_assessments, store_challenges, store_decisions
from services.verifier.decide_assessment import check_mac, check_req, is_seen, is_stale, take
from services.verifier.issue import Text
from services.verifier.model import Allow, Asked, Denied, Deny, Granted, Open

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.policy import RequestLimits
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.keys import KeyRing
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.verifier.desk import Desk
    from services.verifier.model import Beliefs, Decision, Taken


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """How long a code lives, how many tries it has, and of how many digits it is."""

    lifetime: timedelta
    attempts_max: int
    digits: int


class AssessmentFold:
    """Judges assessments against the floor, opens challenges, and decides what needs none."""

    topic = AccessAssessed.topic
    dedupes_by_key = True
    delay_ms_max = AT_ONCE
    saves_at_once = staticmethod(never)  # users take turns from load to save

    def __init__(
        self,
        *,
        assessment_keys: KeyRing,
        desk: Desk,
        requests: RequestLimits,
        codes: CodeLimits,
    ) -> None:
        self._assessment_keys = assessment_keys
        self._desk = desk
        self._requests = requests
        self._codes = codes

    @property
    def stale_after(self) -> timedelta | None:
        """Return the age from which a request is denied."""
        return self._requests.age_max

    def parse(self, record: Record) -> Incoming[AccessAssessed] | None:
        """Return the assessment. Raises OffContractError."""
        return _read(record)

    def keys(self, incoming: Incoming[AccessAssessed]) -> tuple[Hashable, ...]:
        """Each user once a round: the next request of a user counts the challenges that this one opens."""
        return ("user", incoming.event.user_id), ("request", incoming.event.request_id)

    async def load(
        self, db: Connection, events: Sequence[Incoming[AccessAssessed]]
    ) -> tuple[Mapping[UUID, Beliefs], datetime]:
        """Return the beliefs about each request."""
        self._assessment_keys.refresh()
        self._desk.refresh()
        return await store_assessments.load(db, [incoming.event for incoming in events], self._codes.digits)

    def decide(self, incoming: Incoming[AccessAssessed], state: Mapping[UUID, Beliefs], now: datetime) -> Taken | None:
        """Return what follows. Whether it was seen and whether it is stale come before its key is missed."""
        event = incoming.event
        beliefs = state[event.request_id]
        if is_seen(event, beliefs.seen):
            return None
        stale = is_stale(event.requested_at, incoming.made_at, now, self._requests.age_max)
        check_mac(incoming.raw(), self._secret(event.key_id, stale=stale))
        check_req(event)
        return take(event, beliefs, self._requests, now, made_at=incoming.made_at, traceparent=incoming.traceparent)

    async def save(self, db: Connection, outcomes: Sequence[Taken], now: datetime) -> Kept:
        """Store what is new: decisions, challenges with their texts, and the ends of what these crowd out."""
        decided = [one for one in outcomes if not isinstance(one.ending, Open)]
        decisions = [_decision(one) for one in decided]
        due = await store_assessments.decide(db, decided, decisions, self._desk.signer, now)
        expires_at = now + self._codes.lifetime
        crowded_out = [old for one in outcomes if isinstance(one.ending, Open) for old in one.ending.cancels]
        await store_challenges.lock_challenges(db, crowded_out)  # before their user's counter, as answers do
        texts, opened = await store_assessments.open_challenges(
            db,
            [self._opening(one, one.ending, now, expires_at) for one in outcomes if isinstance(one.ending, Open)],
            attempts_max=self._codes.attempts_max,
            now=now,
            expires_at=expires_at,
        )
        crowding = {
            challenge_id: one
            for one in outcomes
            if isinstance(one.ending, Open) and one.event.request_id in opened
            for challenge_id in one.ending.cancels
        }
        ends = [Denied(asked, "cancelled") for asked in await store_decisions.close(db, list(crowding), now)]
        cancelled = await store_decisions.decide(db, ends, self._desk.signer, now)
        for end in ends:
            assert end.asked.challenge_id is not None  # it was closed by it
            crowding[end.asked.challenge_id].crowded_out.append(end)
        return outbox.together(due, texts, cancelled.events)

    def effect(self, outcome: Taken) -> Effect:
        """Say what it comes to: a challenge is a text with a code, and only a denial gives nobody anything."""
        match outcome.ending:
            case Open():
                return Effect("text", forbidden=True)
            case Allow():
                return Effect("grant", forbidden=True)
            case Deny(reason):
                return Effect(f"denied {reason}")

    def committed(self, outcomes: Sequence[Taken]) -> None:
        """Tell what these came to and whom they crowded out, and wake whoever waits for one of them."""
        for one in outcomes:
            self._desk.journal.taken(one)
            self._desk.journal.ended(one.crowded_out)
        self._desk.waiters.wake(one.event.request_id for one in outcomes)
        self._desk.waiters.wake(end.asked.request_id for one in outcomes for end in one.crowded_out)

    def _secret(self, key_id: str, *, stale: bool) -> bytes:
        try:
            return self._assessment_keys.get(key_id).secret
        except KeyUnknownError:
            if stale:
                raise OffContractError("key_id: of no key here, and the request is too old to wait for it") from None
            raise

    def _opening(self, one: Taken, opened: Open, now: datetime, expires_at: datetime) -> store_assessments.Opening:
        asked, event = _asked(one), one.event
        text = Text(
            asked,
            challenge_id_of(event.request_id),
            opened.number.number_id,
            1,
            event.client,
            event.summary,
            expires_at,
            opened.reserved,
        )
        issued = self._desk.issuer.issue(text, opened.fresh, now)
        return store_assessments.Opening(one, asked, opened.number, issued)


_read = reader(AccessAssessed)


def _decision(one: Taken) -> Decision:
    if isinstance(one.ending, Deny):
        return Denied(_asked(one), one.ending.reason, one.ending.retry_at)
    return Granted(_asked(one))


def _asked(one: Taken) -> Asked:
    event = one.event
    opened = one.ending if isinstance(one.ending, Open) else None
    return Asked(
        event.request_id,
        event.account_id,
        event.user_id,
        event.action,
        event.digest,
        one.reasons,
        challenge_id_of(event.request_id) if opened else None,
        opened.number.number_id if opened else None,
        one.traceparent,
        event.req,
    )
