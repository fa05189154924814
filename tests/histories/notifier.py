"""Two notifiers on a ground's database, an SNS that answers as it is told, and people with phones."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.notifier.sending import Doubts, Texts
from services.notifier.wiring import SERVICE
from tests.support.enrolment import fold_batch
from tests.support.events import incoming
from tests.support.notifier import Neighbourhood, a_policy
from tests.support.sns_stand_in import Reply, SnsStandIn, sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.program.frame import Parts
    from tests.support.histories import Ground
    from tests.support.notifier import Challenge


# What each answer of SNS makes of a text.
REPLIES = {
    Reply.ACCEPTED: "accepted",
    Reply.INTERNAL: "unknown",
    Reply.RESET: "unknown",
    Reply.THROTTLED: "due",
    Reply.OPTED_OUT: "refused",
}


@dataclass
class Text:
    """A text as the model has it. `claimed` is when, as long as nobody has settled the claim."""

    challenge: Challenge
    state: str | None = None
    claims: int = 0
    claimed: datetime | None = None
    may_have_left: list[datetime] = field(default_factory=list)


@dataclass
class Notifier:
    """One process's parts. `taken` is claimed and not sent, `acted` is sent and not settled: a death loses both."""

    parts: Parts
    pool: Pool
    taken: list[Any] = field(default_factory=list)
    acted: list[Any] = field(default_factory=list)

    @property
    def texts(self) -> Any:
        """The due work that sends."""
        return next(due for due in self.parts.dues if isinstance(due, Texts))

    async def fold(self, ground: Ground, *challenges: Challenge) -> list[str]:
        """Fold challenges off their topic; return the causes of dead letters."""
        batch = [incoming(challenge.event, at=ground.at) for challenge in challenges]
        async with self.pool.acquire() as db:
            _, dead = await fold_batch(db, self.parts.folds[0], batch)
        return [letter.cause for letter in dead]

    async def take(self, limit: int) -> list[Any]:
        """Claim what may leave, as the loop around due work does."""
        async with self.pool.acquire() as db, db.transaction():
            found = list(await self.texts.take(db, limit))
        self.taken += found
        return found

    async def settle(self) -> list[Any]:
        """Settle what was sent."""
        done, self.acted = self.acted, []
        async with self.pool.acquire() as db, db.transaction():
            await self.texts.settle(db, done)
        return done

    async def doubt(self) -> None:
        """Settle claims of whoever did not come back."""
        doubts: Any = next(due for due in self.parts.small_dues if isinstance(due, Doubts))
        async with self.pool.acquire() as db, db.transaction():
            done = [await doubts.act(item) for item in await doubts.take(db, 100)]
            await doubts.settle(db, done)


@dataclass
class Notifiers:
    """Two of them, and what is around."""

    ground: Ground
    near: Neighbourhood
    sns: SnsStandIn
    both: tuple[Notifier, Notifier]


@asynccontextmanager
async def two_notifiers(ground: Ground, folder: Path, **limits: object) -> AsyncIterator[Notifiers]:
    """Wire them with these text limits."""
    async with AsyncExitStack() as stack:
        sns = await stack.enter_async_context(sns_stand_in())
        near = Neighbourhood(ground.servers, ground.db, sns.url, a_policy(folder, **limits))
        both = []
        for _ in range(2):
            frame = await stack.enter_async_context(ground.frame("notifier", near.settings()))
            both.append(Notifier(await stack.enter_async_context(SERVICE.wire(frame)), frame.pool))
        yield Notifiers(ground, near, sns, (both[0], both[1]))
