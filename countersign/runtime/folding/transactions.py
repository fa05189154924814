"""Transactions of one worker: PostgreSQL that is away is waited for in place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from countersign.clock import loop_seconds
from countersign.runtime.backoff import Backoff
from countersign.runtime.database.postgres import STATEMENT_SECONDS_MAX
from countersign.runtime.errors import Kind, kind_of, reason_of
from countersign.runtime.folding.fold import Folded, absorb
from countersign.runtime.folding.sizes import Sizes, TooLongError, took_too_long
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.dead_letter import DeadLetter
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.messages.record import Incoming
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health

# From here on planning a statement for the very batch costs less than a plan that fits others.
BULK_EVENTS_MIN = 10
_SMALL_QUESTION = "SELECT 1"
_SMALL_ANSWER_SECONDS = 5.0


class StoppingError(Exception):
    """The process stops while a server is away: the batch is left to whoever reads it next."""


class Transactions:
    """Folds on two connections: one that keeps plans, for few events, and one for many."""

    def __init__(
        self,
        link: Link,
        bulk: Link,
        publisher: Publisher,
        health: Health,
        checkpoint: Checkpoint,
        log: structlog.typing.FilteringBoundLogger,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._link = link
        self._bulk = bulk
        self._publisher = publisher
        self._health = health
        self._checkpoint = checkpoint
        self._log = log
        self._tracer = tracer
        self._stopping = False
        self.sizes = Sizes()
        self.waiting_for_server = False

    def stop(self) -> None:
        """Wait for no server any more."""
        self._stopping = True

    async def answers(self) -> bool:
        """Return True if PostgreSQL answers a small question at once: what took too long was not its fault."""
        try:
            async with asyncio.timeout(_SMALL_ANSWER_SECONDS), self._link.use() as db:
                await db.execute(_SMALL_QUESTION)
        except Exception as error:
            if kind_of(error) is not Kind.INFRASTRUCTURE:
                raise
            return False
        return True

    async def absorb(self, fold: AnyFold, part: Sequence[Incoming[Any]], dead: Sequence[DeadLetter]) -> Folded[Any]:
        """Fold in one transaction, waiting for a server that is away. Raises StoppingError and TooLongError."""
        # One for all tries: if the answer to a commit is lost, the next try finds the events known.
        backoff, work = Backoff(), self._tracer.folding(fold)
        link = self._link if len(part) < BULK_EVENTS_MIN else self._bulk
        while True:
            began: float | None = None
            try:
                async with link.use() as db:
                    began = loop_seconds()
                    folded = await absorb(db, fold, part, dead=dead, checkpoint=self._checkpoint, work=work)
            except Exception as error:
                if kind_of(error) is not Kind.INFRASTRUCTURE:
                    raise
                if self._stopping:
                    raise StoppingError from error
                self.waiting_for_server = True
                self._health.tell("postgres.folds", reason_of(error))
                self._log.warning("fold_waits", topic=fold.topic, error=type(error).__name__)
                if began is not None and part and took_too_long(error, loop_seconds() - began):
                    raise TooLongError(f"its transaction took longer than {STATEMENT_SECONDS_MAX:.0f} s") from error
                await asyncio.sleep(backoff.next())
                continue
            if self.waiting_for_server:
                self.waiting_for_server = False
                self._health.tell("postgres.folds", None)
            self.sizes.went_well(fold.topic, len(part), loop_seconds() - (began or 0.0))
            self._publisher.hand(folded.due)
            return folded
