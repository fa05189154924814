"""One piece for everything that becomes due: take by lease, act outside any transaction, settle."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from math import inf
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from countersign.clock import loop_seconds
from countersign.runtime.backoff import Backoff
from countersign.runtime.errors import Kind, ends_session, kind_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Connection, Link
    from countersign.runtime.due_work.settled import Settled
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.waker import Waker
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

Item = TypeVar("Item")
Done = TypeVar("Done")
Stored = TypeVar("Stored")


class Due(Protocol[Item, Done, Stored]):
    """Work that becomes due.

    `every` is the seconds between looks when nobody wakes it, `parallel` the acts in flight. `leases`: what was taken
    is not found again until its lease is over, so more is taken once an eighth of the places is free; else nothing more
    is taken before all of it is settled. `settles_at_once`: `settle` is one statement at most, and needs no transaction
    around it, which saves two round trips.
    """

    name: str
    every: float
    parallel: int
    leases: bool
    settles_at_once: bool
    waker: Waker

    async def take(self, db: Connection, limit: int) -> Sequence[Item]:
        """Claim up to `limit` items by lease (SKIP LOCKED); the transaction is committed before any act."""
        ...

    async def act(self, item: Item) -> Done:
        """Do it, outside any transaction. An exception leaves the item to its lease."""
        ...

    async def settle(self, db: Connection, done: Sequence[Done]) -> Settled[Stored]:
        """Store what came of it, in one transaction, and keep what it owes to Kafka. Count and log nothing here.

        The transaction may still fail, and then this is called again.
        """
        ...

    def committed(self, done: Sequence[Stored]) -> None:
        """Count and log what was stored, and wake whoever waits for it: the transaction is committed."""
        ...


AnyDue = Due[Any, Any, Any]
# chosen: in a backlog places become free one by one, and a look for each would cost a transaction for each item. No
# larger share, since few places are free while a provider hangs.
FREE_SHARE = 8
LEAVE_AFTER_SECONDS = 5.0  # chosen: of the end of a process, for a database that is away


class DueLoop:
    """Runs one Due until the process stops; acts in flight are finished and settled first."""

    def __init__(  # noqa: PLR0913 - what a loop needs is what the frame has
        self,
        due: AnyDue,
        *,
        taking: Link,
        settling: Link,
        publisher: Publisher,
        health: Health,
        checkpoint: Checkpoint,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._due = due
        self._taking = taking
        self._settling = settling
        self._publisher = publisher
        self._health = health
        self._checkpoint = checkpoint
        self._metrics = metrics
        self._log = log.bind(due=due.name)
        self._part = f"postgres.due.{due.name}"
        self._stopping = False
        self._leave_at = inf
        self._free = asyncio.Semaphore(due.parallel)
        self._in_hand = 0
        self._done: asyncio.Queue[object] = asyncio.Queue()

    def stop(self) -> None:
        """Take nothing more; `run` ends when what is in flight is settled, or left to its lease.

        It is left if the database is away 5 s later. What has no lease is found by whoever looks for it next.
        """
        self._stopping = True
        self._leave_at = loop_seconds() + LEAVE_AFTER_SECONDS
        self._due.waker.wake()

    async def run(self) -> None:
        """Take, act, settle."""
        async with asyncio.TaskGroup() as group:
            settling = group.create_task(self._settle_forever())
            async with asyncio.TaskGroup() as acts:
                await self._take_forever(acts)
            await self._done.join()
            settling.cancel()

    async def _take_forever(self, acts: asyncio.TaskGroup) -> None:
        backoff = Backoff()
        while not self._stopping:
            room = await self._room()
            try:
                async with self._taking.use() as db, db.transaction():
                    items = await self._due.take(db, room)
            except Exception as error:  # noqa: BLE001 - told by kind below
                self._told(error, "due_take_failed")
                self._say_unready(error)
                await self._due.waker.wait(backoff.next())
                continue
            backoff.reset()
            self._health.tell(self._part, None)
            if items:
                await self._checkpoint(f"{self._due.name}.claimed")
            for item in items:
                await self._free.acquire()
                self._in_hand += 1
                acts.create_task(self._act(item))
            if len(items) < room:
                await self._due.waker.wait(self._due.every)

    async def _room(self) -> int:
        """Wait until enough places are free for a look that takes several items; return how many are free."""
        free = max(1, self._due.parallel // FREE_SHARE) if self._due.leases else self._due.parallel
        for _ in range(free):
            await self._free.acquire()
        for _ in range(free):
            self._free.release()
        return self._due.parallel - self._in_hand

    async def _act(self, item: object) -> None:
        try:
            done = await self._due.act(item)
        except Exception as error:  # noqa: BLE001 - the lease brings the item back
            self._told(error, "due_act_failed")
            self._leave()
        else:
            await self._checkpoint(f"{self._due.name}.acted")
            self._done.put_nowait(done)
            if self._due.leases:
                self._leave()

    def _leave(self) -> None:
        """Make room for another item."""
        self._in_hand -= 1
        self._free.release()

    async def _settle_forever(self) -> None:
        while True:
            done = [await self._done.get()]
            while not self._done.empty() and len(done) < 500:  # noqa: PLR2004 - a batch as large as a fold's
                done.append(self._done.get_nowait())
            await self._settle(done)
            for _ in done:
                if not self._due.leases:
                    self._leave()
                self._done.task_done()

    async def _settle(self, done: Sequence[object]) -> None:
        """Settle together; if that fails by a bug, one by one, so that one bad result keeps no other from its end."""
        backoff = Backoff()
        while True:
            try:
                await self._settle_once(done)
            except Exception as error:  # noqa: BLE001 - told by kind below
                self._told(error, "due_settle_failed")
                if kind_of(error) is Kind.INFRASTRUCTURE:
                    if loop_seconds() >= self._leave_at:
                        self._log.error("due_left_behind", results=len(done), reason=reason_of(error))
                        return
                    await asyncio.sleep(backoff.next())
                    continue
                if len(done) > 1:
                    for one in done:
                        await self._settle([one])
            return

    async def _settle_once(self, done: Sequence[object]) -> None:
        async with (
            self._settling.use() as db,
            nullcontext() if self._due.settles_at_once else db.transaction(),
        ):
            settled = await self._due.settle(db, done)
        await self._checkpoint(f"{self._due.name}.settled")
        self._publisher.hand(settled.due)
        try:
            self._due.committed(settled.done)
        except Exception as error:  # noqa: BLE001 - it is committed: settling it again would do it twice
            self._told(error, "due_committed_failed")
        self._metrics.due_settled.labels(self._due.name).inc(len(done))

    def _say_unready(self, error: Exception) -> None:
        """Say in /readyz that this work waits, if the database is the reason."""
        if ends_session(error):
            self._health.tell(self._part, reason_of(error))

    def _told(self, error: Exception, event: str) -> None:
        if kind_of(error) is Kind.INFRASTRUCTURE:
            self._log.warning(event, error=type(error).__name__)
        else:
            self._metrics.bugs.labels(self._due.name).inc()
            self._log.exception(event, error=type(error).__name__)
