"""Dead letters that are folded again: those that somebody redrives, and those that wait for a key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from countersign.runtime.due_work.settled import Settled
from countersign.runtime.errors import Kind, OffContractError, kind_of
from countersign.runtime.folding import dead_letter
from countersign.runtime.folding.dead_letter import DeadLetter, Redrive
from countersign.runtime.folding.fold import absorb
from countersign.runtime.tracing.tracer import NO_TRACER
from countersign.runtime.waker import Waker

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import structlog

    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.folding.fold import AnyFold, Folded
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer


class Redrives:
    """Due work: a letter is folded like any record, and its end commits with what it did."""

    name = "redrive"
    every = 1.0
    parallel = 1
    leases = True
    settles_at_once = True

    def __init__(
        self,
        folds: Mapping[str, AnyFold],
        link: Link,
        publisher: Publisher,
        log: structlog.typing.FilteringBoundLogger,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self.waker = Waker()
        self._folds = folds
        self._link = link
        self._publisher = publisher
        self._log = log
        self._tracer = tracer

    async def take(self, db: Connection, limit: int) -> Sequence[Redrive]:
        """Take letters of topics that are read here."""
        return await dead_letter.take(db, limit, list(self._folds))

    async def act(self, item: Redrive) -> Redrive:
        """Fold one letter; what is wrong with it now becomes its cause."""
        try:
            await self._fold(item)
        except Exception as error:
            if kind_of(error) is Kind.INFRASTRUCTURE:
                raise
            self._log.exception("redrive_failed", topic=item.record.topic, offset=item.record.offset)
            await self._end(item, [DeadLetter(item.record, "bug", f"a bug of ours: {type(error).__name__}")])
        return item

    async def _fold(self, item: Redrive) -> None:
        fold = self._folds[item.record.topic]
        try:
            incoming = fold.parse(item.record)
        except OffContractError as finding:
            await self._end(item, [DeadLetter.of(item.record, finding)])
            return
        if incoming is None:
            await self._end(item, [])
            return

        async def settle(db: Connection, folded: Folded[Any]) -> None:
            if folded.suspects:  # a letter that is not folded must not be settled, not even for a moment
                raise folded.suspects[0][1]
            await dead_letter.settle(db, item, folded.dead, too_old=folded.aged > 0)

        async with self._link.use() as db:
            work = self._tracer.folding(fold)
            folded = await absorb(db, fold, [self._tracer.continued(incoming)], also=settle, work=work)
        self._publisher.hand(folded.due)

    async def _end(self, item: Redrive, failed: Sequence[DeadLetter]) -> None:
        async with self._link.use() as db:
            await dead_letter.settle(db, item, failed)

    async def settle(self, _db: Connection, _done: Sequence[Any]) -> Settled[None]:
        """Nothing is left: each letter was settled with its fold."""
        return Settled()

    def committed(self, done: Sequence[None]) -> None:
        """Nothing is left to tell."""
