"""Changed settings and decisions, folded into notices that are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.contract import (
    AccessDenied,
    AccessGranted,
    NumberReplaced,
    NumberReset,
    TwoFactorDisabled,
    TwoFactorEnabled,
    reader,
)
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import PATIENTLY, always
from countersign.runtime.publishing.outbox import NOTHING
from services.notifier.notices import store
from services.notifier.notices.decide import LIFE, of_decision, of_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.notifier.notices.decide import Decision, Setting
    from services.notifier.notices.model import Happening


class _Told:
    """What both folds share: nothing is loaded but the time. Notices that are kept are found by the next look."""

    dedupes_by_key = True
    delay_ms_max = PATIENTLY
    stale_after = LIFE
    saves_at_once = staticmethod(always)

    async def load(self, db: Connection, events: Sequence[object]) -> tuple[None, datetime]:
        del events
        return None, await store.now(db)

    async def save(self, db: Connection, outcomes: Sequence[Happening], now: datetime) -> Kept:
        del now
        await store.keep(db, outcomes)
        return NOTHING

    def effect(self, outcome: Happening) -> Effect:
        """Say that a notice is a text, to everybody who is to be told."""
        del outcome
        return Effect("text", forbidden=True)

    def committed(self, outcomes: Sequence[Happening]) -> None:
        """Wake nobody: a look for each notice would cost more than the rest of it, and nobody waits for one."""


class SettingNotices(_Told):
    """The fold of account.settings.v1."""

    topic = TwoFactorEnabled.topic

    def __init__(self) -> None:
        self._parse: Callable[[Record], Incoming[Setting] | None] = reader(
            TwoFactorEnabled, TwoFactorDisabled, NumberReplaced, NumberReset
        )

    def parse(self, record: Record) -> Incoming[Setting] | None:
        return self._parse(record)

    def keys(self, incoming: Incoming[Setting]) -> tuple[Hashable, ...]:
        return (incoming.event.event_id(),)

    def decide(self, incoming: Incoming[Setting], state: None, now: datetime) -> Happening | None:
        del state
        return of_setting(incoming, now)


class DecisionNotices(_Told):
    """The fold of access.decisions.v1."""

    topic = AccessGranted.topic

    def __init__(self) -> None:
        self._parse: Callable[[Record], Incoming[Decision] | None] = reader(AccessGranted, AccessDenied)

    def parse(self, record: Record) -> Incoming[Decision] | None:
        return self._parse(record)

    def keys(self, incoming: Incoming[Decision]) -> tuple[Hashable, ...]:
        return (incoming.event.event_id(),)

    def decide(self, incoming: Incoming[Decision], state: None, now: datetime) -> Happening | None:
        del state
        return of_decision(incoming, now)
