"""Keeps a topic ahead of its readers, so that their speed is what is measured."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from countersign.runtime.messages.record import Outgoing

BLOCK = 500


@dataclass
class Feeder:
    """Publishes until `ahead` records are unread. `made` counts what was published."""

    bootstrap: str
    make: Callable[[], Outgoing]
    read: Callable[[], Awaitable[int]]
    ahead: int
    made: int = 0
    _stopping: bool = False

    def stop(self) -> None:
        """Finish the block at hand, so that it is counted."""
        self._stopping = True

    async def run(self) -> None:
        """Go on until stopped."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True, linger_ms=2)
        await producer.start()
        try:
            while not self._stopping:
                if self.made - await self.read() >= self.ahead:
                    await asyncio.sleep(0.1)
                    continue
                rows = [self.make() for _ in range(BLOCK)]
                acks = [await producer.send(r.topic, r.value, key=r.key, headers=list(r.headers)) for r in rows]
                await asyncio.gather(*acks)
                self.made += len(rows)
        finally:
            await producer.stop()


@asynccontextmanager
async def fed(feeder: Feeder) -> AsyncIterator[Feeder]:
    """Feed while the body runs; before it begins the readers are that far behind."""
    async with asyncio.TaskGroup() as group:
        group.create_task(feeder.run())
        while feeder.made < feeder.ahead:  # noqa: ASYNC110 - it counts, and sets no event
            await asyncio.sleep(0.05)
        try:
            yield feeder
        finally:
            feeder.stop()
