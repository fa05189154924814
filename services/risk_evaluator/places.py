"""Granted logins teach places, and the account's settings forget them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from countersign.client import Expected, GrantRefusedError
from countersign.contract import AccessGranted, PlacesForgotten, reader
from countersign.runtime.errors import OffContractError
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import PATIENTLY, always, never
from countersign.runtime.publishing.outbox import NOTHING
from services.risk_evaluator import store
from services.risk_evaluator.decide import is_noted, lesson, may_teach
from services.risk_evaluator.model import Forgetting
from services.risk_evaluator.store_places import LIVE

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.client import Grants
    from countersign.policy import PlaceRules
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming
    from countersign.runtime.publishing.outbox import Kept
    from services.risk_evaluator.model import Assessed, Lesson
    from services.risk_evaluator.store_places import PlaceTables

Known: TypeAlias = "Mapping[UUID, Assessed]"


class LearnPlaces:
    """The place of a granted login, as we assessed it, has then used the account; also while two-factor is off."""

    topic = AccessGranted.topic
    dedupes_by_key = True
    delay_ms_max = PATIENTLY
    stale_after = None
    saves_at_once = staticmethod(always)
    parse = staticmethod(reader(AccessGranted))

    def __init__(self, grants: Grants, rules: PlaceRules, tables: PlaceTables = LIVE) -> None:
        self._grants = grants
        self._rules = rules
        self._tables = tables

    def keys(self, incoming: Incoming[AccessGranted]) -> tuple[Hashable, ...]:
        return (incoming.event.request_id,)

    async def load(self, db: Connection, events: Sequence[Incoming[AccessGranted]]) -> tuple[Known, datetime]:
        self._grants.want(incoming.event.grant for incoming in events)
        return await self._tables.assessed(db, [incoming.event.request_id for incoming in events])

    def decide(self, incoming: Incoming[AccessGranted], state: Known, now: datetime) -> Lesson | None:
        """Go by our own assessment; the event only brings the grant, and the grant must be of that very request.

        Most logins come from where their user was within the hour: there is nothing to write then, nor to check.
        """
        assessed = state.get(incoming.event.request_id)
        if assessed is None or not may_teach(assessed) or is_noted(assessed, incoming.made_at, self._rules.life_max):
            return None
        fingerprint = assessed.fingerprint
        expected = Expected(
            action=fingerprint.action,
            request_id=incoming.event.request_id,
            user_id=fingerprint.user_id,
            account_id=fingerprint.account_id,
            digest=fingerprint.digest,
            req=fingerprint.req,
        )
        try:
            grant = self._grants.check_taught(incoming.event.grant, incoming.ce_time, expected)
        except GrantRefusedError as finding:
            raise OffContractError(f"grant: {finding}") from None
        return lesson(assessed, grant.issued_at, self._rules.forget_after, now)

    async def save(self, db: Connection, outcomes: Sequence[Lesson], now: datetime) -> Kept:
        del now
        await self._tables.learn(db, outcomes, self._rules.life_max)
        return NOTHING

    def effect(self, outcome: Lesson) -> Effect:
        del outcome
        return Effect("place learned")

    def committed(self, outcomes: Sequence[Lesson]) -> None:
        """Nobody waits for a lesson."""


class ForgetPlaces:
    """Forgotten places are gone, and grants from before teach them no more."""

    topic = PlacesForgotten.topic
    dedupes_by_key = False  # the later time stands, however often and late the event comes
    delay_ms_max = PATIENTLY
    stale_after = None
    saves_at_once = staticmethod(never)
    parse = staticmethod(reader(PlacesForgotten))

    def __init__(self, tables: PlaceTables = LIVE) -> None:
        self._tables = tables

    def keys(self, incoming: Incoming[PlacesForgotten]) -> tuple[Hashable, ...]:
        event = incoming.event
        return ((event.account_id, event.user_id, event.place),)

    async def load(self, db: Connection, events: Sequence[Incoming[PlacesForgotten]]) -> tuple[None, datetime]:
        del events
        return None, await store.now(db)

    def decide(self, incoming: Incoming[PlacesForgotten], state: None, now: datetime) -> Forgetting:
        del state, now
        event = incoming.event
        return Forgetting(
            account_id=event.account_id, user_id=event.user_id, place=event.place, forgotten_at=incoming.made_at
        )

    async def save(self, db: Connection, outcomes: Sequence[Forgetting], now: datetime) -> Kept:
        del now
        await self._tables.forget(db, outcomes)
        return NOTHING

    def effect(self, outcome: Forgetting) -> Effect:
        del outcome
        return Effect("places forgotten")

    def committed(self, outcomes: Sequence[Forgetting]) -> None:
        """Nobody waits for a forgetting: the next load sees it."""
