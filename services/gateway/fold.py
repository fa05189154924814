"""Events that end sessions. Each does so once: read again, it finds its key and leaves later sessions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from countersign.contract import MemberRemoved, NumberReplaced, NumberReset, PlacesForgotten, TwoFactorDisabled, reader
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import PATIENTLY, never
from countersign.runtime.messages.cloudevents import Event
from countersign.runtime.publishing.outbox import NOTHING
from services.gateway.decide import ENDS_WITHIN, ending_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from datetime import datetime

    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.gateway.model import Ending

E = TypeVar("E", bound=Event)

NOW = "SELECT now()"
# Of an event folded before nothing comes back, whoever else is at work on it.
KEEP = """
INSERT INTO ending (event_key, folded_at) SELECT event_key, now() FROM unnest($1::text[]) AS e (event_key)
 ORDER BY event_key ON CONFLICT DO NOTHING RETURNING event_key
"""
# A log-in that began after the event stays: whoever gave the password then was judged by what the event changed.
END = """
WITH gone AS (
    SELECT s.id
      FROM session s JOIN person p USING (user_id)
     WHERE EXISTS (SELECT FROM unnest($1::uuid[], $2::uuid[], $3::cidr[], $4::uuid[], $5::timestamptz[])
                            AS e (account_id, user_id, place, but_of_number, logins_until)
                    WHERE e.account_id = p.account_id
                      AND coalesce(s.login_at, s.begun_at) <= e.logins_until
                      AND (e.user_id IS NULL OR e.user_id = s.user_id)
                      AND (e.place IS NULL OR s.ip <<= e.place)
                      AND (e.but_of_number IS NULL OR s.changes_to IS DISTINCT FROM e.but_of_number))
     ORDER BY s.id FOR UPDATE OF s)
DELETE FROM session WHERE id IN (SELECT id FROM gone)
"""


class EndSessions(Generic[E]):
    """Ends sessions for the events of one topic."""

    dedupes_by_key = True
    delay_ms_max = PATIENTLY
    stale_after = ENDS_WITHIN
    saves_at_once = staticmethod(never)

    def __init__(self, topic: str, *wanted: type[E]) -> None:
        self.topic = topic
        self._read = reader(*wanted)

    def parse(self, record: Record) -> Incoming[E] | None:
        """Return the event, or None for one that ends no session."""
        return self._read(record)

    def keys(self, incoming: Incoming[E]) -> tuple[Hashable, ...]:
        """Return the event's own key: sessions are ended, never changed, so any order will do."""
        return ((incoming.event.ce_type, incoming.event.natural_key()),)

    async def load(self, db: Connection, events: Sequence[Incoming[E]]) -> tuple[None, datetime]:
        """Bring the time; what was folded before is found by its key in `save`."""
        del events
        return None, await db.fetchval(NOW)

    def decide(self, incoming: Incoming[E], state: None, now: datetime) -> Ending | None:
        """Return whose sessions end."""
        del state
        return ending_of(incoming.event, incoming.made_at, now)

    async def save(self, db: Connection, outcomes: Sequence[Ending], now: datetime) -> Kept:
        """End the sessions of the events that are new."""
        del now
        fresh = {row["event_key"] for row in await db.fetch(KEEP, [ending.event_key for ending in outcomes])}
        new = [ending for ending in outcomes if ending.event_key in fresh]
        await db.execute(
            END,
            [ending.account_id for ending in new],
            [ending.user_id for ending in new],
            [ending.place for ending in new],
            [ending.but_of_number for ending in new],
            [ending.logins_until for ending in new],
        )
        return NOTHING

    def effect(self, outcome: Ending) -> Effect:
        """Return that sessions end, of whoever has one."""
        return Effect("sessions ended of a user" if outcome.user_id is not None else "sessions ended of an account")

    def committed(self, outcomes: Sequence[Ending]) -> None:
        """Nobody waits for a session to end."""


def members() -> EndSessions[MemberRemoved]:
    """Return the fold of account.members."""
    return EndSessions(MemberRemoved.topic, MemberRemoved)


def settings() -> EndSessions[NumberReplaced | NumberReset | PlacesForgotten | TwoFactorDisabled]:
    """Return the fold of account.settings."""
    return EndSessions(NumberReset.topic, NumberReplaced, NumberReset, PlacesForgotten, TwoFactorDisabled)
