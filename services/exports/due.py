"""Exports that are to be written, and that are over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.client.digests import contacts_digest
from countersign.runtime.due_work.settled import Settled
from countersign.runtime.waker import Waker
from services.exports import store
from services.exports.decide import reason_of_end
from services.exports.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta
    from uuid import UUID

    from prometheus_client import Counter

    from countersign.runtime.database.postgres import Connection, Pool
    from services.exports.model import Export


@dataclass(frozen=True, slots=True)
class Written:
    """A file that is to be offered."""

    export_id: UUID
    content: bytes = field(repr=False)


class Writing:
    """Writes the files of granted exports from their frozen contacts."""

    name = "export_file"
    every = 2.0
    parallel = 2  # a file of the largest size lies in memory twice
    leases = True
    settles_at_once = False

    def __init__(self, pool: Pool, offered: timedelta, counter: Counter) -> None:
        self.waker = Waker()
        self._pool = pool
        self._offered = offered
        self._counter = counter

    async def take(self, db: Connection, limit: int) -> Sequence[Export]:
        return await store.take_granted(db, limit)

    async def act(self, item: Export) -> Written | None:
        """Return the file; None if its export has ended meanwhile and its contacts are gone."""
        async with self._pool.acquire() as db:
            frozen = await store.frozen(db, item.export_id)
        if item.rows and not frozen:
            return None
        if contacts_digest(contact.contact_id for contact in frozen) != item.contacts:
            raise RuntimeError("the frozen contacts are not those that were approved")
        return Written(item.export_id, await asyncio.to_thread(write_file, item.format, frozen))

    async def settle(self, db: Connection, done: Sequence[Written | None]) -> Settled[int]:
        files = {file.export_id: file.content for file in done if file is not None}
        return Settled(done=[await store.keep_files(db, files, self._offered)])

    def committed(self, done: Sequence[int]) -> None:
        """Count the files that are offered from now on."""
        self._counter.labels("ready").inc(sum(done))


class Ending:
    """Ends what is over: no decision came, no file could be written, nobody may fetch it any more."""

    name = "export_end"
    every = 2.0
    parallel = 100
    leases = True
    settles_at_once = False

    def __init__(self, counter: Counter) -> None:
        self.waker = Waker()
        self._counter = counter

    async def take(self, db: Connection, limit: int) -> Sequence[Export]:
        return await store.take_over(db, limit)

    async def act(self, item: Export) -> Export:
        """Do nothing: ending is settling, and people see the end by the clock, whenever it is noted."""
        return item

    async def settle(self, db: Connection, done: Sequence[Export]) -> Settled[int]:
        return Settled(done=[await store.expire(db, {export.export_id: reason_of_end(export) for export in done})])

    def committed(self, done: Sequence[int]) -> None:
        """Count the exports that ended."""
        self._counter.labels("expired").inc(sum(done))
