"""Enrolment's folds on a ground's database, with a key that signs grants like the verifier's."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from countersign.client import Grants
from tests.support.enrolment import Desk, fold_batch, settings_of
from tests.support.events import incoming
from tests.support.grants import KeySite, Signer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.messages.cloudevents import Event
    from countersign.runtime.messages.record import Incoming
    from tests.support.histories import Ground


@dataclass
class Enrolment:
    """A desk, and what its folds said of a batch."""

    ground: Ground
    desk: Desk

    def arrived(self, event: Event) -> Incoming[Any]:
        """Return an event as it comes off its topic now."""
        return incoming(event, at=self.ground.at)

    async def fold(self, fold: Any, *events: Incoming[Any]) -> tuple[int, list[str]]:
        """Fold a batch as the worker does; return how many events are due, and the causes of dead letters."""
        due, dead = await fold_batch(self.desk.db, fold, events)
        return len(due), [letter.cause for letter in dead]


@asynccontextmanager
async def an_enrolment(ground: Ground) -> AsyncIterator[Enrolment]:
    """Lend the folds, on a connection of their own."""
    signer = Signer()
    async with (
        KeySite(signer.jwk()) as site,
        Grants(site.url) as grants,
        grants.keeping_fresh(lambda _trouble: None),
        ground.frame("enrolment", settings_of(ground.servers)) as frame,
        frame.pool.acquire() as db,
    ):
        yield Enrolment(ground, Desk(db, grants, signer))
