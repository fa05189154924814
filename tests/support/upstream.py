"""A producer that outlives its brokers: it sends until they have it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.messages.record import Outgoing


class Upstream:
    """Sends each record until it is acknowledged, so that one may lie on the topic twice and none is missing."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()

    async def send(self, record: Outgoing) -> None:
        """Return when the brokers have it; with a new producer after each failure."""
        while True:
            producer: AIOKafkaProducer | None = None
            try:
                producer = await self._ready()
                await producer.send_and_wait(record.topic, record.value, key=record.key, headers=list(record.headers))
            except (KafkaError, OSError):
                await self._drop(producer)
                await asyncio.sleep(0.2)
            else:
                return

    async def close(self) -> None:
        """End the producer at hand."""
        await self._drop(self._producer)

    async def _ready(self) -> AIOKafkaProducer:
        async with self._renewing:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap, enable_idempotence=True, request_timeout_ms=5_000
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _drop(self, producer: AIOKafkaProducer | None) -> None:
        async with self._renewing:
            if producer is None or id(producer) != id(self._producer):
                return
            self._producer = None
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(2):
                    await producer.stop()


@asynccontextmanager
async def upstream(bootstrap: str) -> AsyncIterator[Upstream]:
    """Lend out a producer that does not give up."""
    found = Upstream(bootstrap)
    try:
        yield found
    finally:
        await found.close()
