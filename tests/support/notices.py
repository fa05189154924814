"""Notices of a notifier under test: what they are about, how far they have come, and what a phone shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.events import outgoing
from tests.support.kafka import eventually, publish
from tests.support.notifier import WITHIN

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    import asyncpg

    from countersign.runtime.messages.cloudevents import Event
    from tests.support.notifier import Neighbourhood, Person
    from tests.support.sns_stand_in import SnsStandIn


async def tell(near: Neighbourhood, *events: Event, at: datetime | None = None) -> None:
    """Put events on their topics."""
    await publish(near.servers.kafka, *(outgoing(event, at=at) for event in events))


async def notices_of(near: Neighbourhood, account_id: UUID) -> list[asyncpg.Record]:
    """Return the notices of an account."""
    rows: list[asyncpg.Record] = await near.db.fetch(
        "SELECT * FROM notifier.notice WHERE account_id = $1 ORDER BY created_at, event_id, number_id", account_id
    )
    return rows


async def settled(near: Neighbourhood, account_id: UUID, count: int, within: float = WITHIN) -> list[asyncpg.Record]:
    """Wait until so many notices of an account have come to their end."""
    found: list[asyncpg.Record] = []

    async def all_ended() -> bool:
        found[:] = await notices_of(near, account_id)
        return len([row for row in found if row["settled_at"] is not None]) >= count

    await eventually(all_ended, within=within)
    return found


def received(sns: SnsStandIn, person: Person) -> list[str]:
    """Return the notices that a phone shows."""
    return [text.body for text in sns.notices if text.number == person.number]
