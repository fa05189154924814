"""A producer as the publishing code sees it, and aiokafka's, which can always be closed completely."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerClosed
from aiokafka.partitioner import DefaultPartitioner

from countersign.metadata_age import METADATA_AGE_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.messages.record import Outgoing

CONNECTION_SECONDS_MAX = 1.0  # ours: how long a closed connection may take to send what it still holds


class Producer(Protocol):
    """What the publishing code asks of a producer. A simulator brings another one."""

    @property
    def dead(self) -> bool:
        """True if nothing that is sent with it will ever be acknowledged."""
        ...

    async def start(self) -> None:
        """Connect. Raises KafkaError or OSError. After a failure or a cancellation, call `stop`."""
        ...

    async def find(self, topic: str) -> None:
        """Return when the partitions of a topic are known. Raises KafkaError after a time-out of its own."""
        ...

    def partition_of(self, topic: str, key: bytes) -> int | None:
        """Return the partition that a key belongs to; None if the partitions of the topic are not known."""
        ...

    async def send(self, record: Outgoing) -> asyncio.Future[Any]:
        """Queue a record. Return the future of its acknowledgement. Raises KafkaError if it was not queued."""
        ...

    async def send_alone(self, record: Outgoing) -> asyncio.Future[Any]:
        """Do the same, in a batch that holds no other record: a broker accepts or refuses whole batches."""
        ...

    async def reach(self) -> None:
        """Return when a broker has answered. Raises KafkaError."""
        ...

    async def stop(self, seconds: float) -> None:
        """Wait so long for acknowledgements, then end every task and socket. What is still open fails. Never raises."""
        ...


class AiokafkaProducer:
    """aiokafka's idempotent producer.

    aiokafka repeats a retriable failure for ever, with the same sequence number: a record that it holds must not be
    sent a second time by us. It has no way to be closed while a record waits. `AIOKafkaProducer.stop()` marks itself
    closed, waits until everything is flushed, and only then ends its sender task and its connections. Whoever
    interrupts it leaves them running, and a second `stop()` returns at once, because the mark is set. So `stop` here
    never interrupts it, and when the time is over it ends each task of aiokafka itself.
    """

    def __init__(
        self,
        kafka: KafkaConnection,
        *,
        request_timeout_ms: int,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._inner: Any = AIOKafkaProducer(
            **kafka.arguments() | dict(options or {}),
            enable_idempotence=True,
            linger_ms=0,
            metadata_max_age_ms=METADATA_AGE_MS,
            request_timeout_ms=request_timeout_ms,
        )
        self._partitioner = DefaultPartitioner()
        self._starting: asyncio.Task[None] | None = None

    @property
    def dead(self) -> bool:
        """True if it is closed, or if the task that sends or the one that knows the brokers has ended."""
        tasks = (self._inner._sender.sender_task, self._inner.client._sync_task)  # noqa: SLF001 - nothing public tells
        return self._inner._closed or any(task is not None and task.done() for task in tasks)  # noqa: SLF001

    async def start(self) -> None:
        """Connect and get a producer id. Raises KafkaError or OSError."""
        # A task of its own: interrupted in the middle, aiokafka forgets its first connection (see `_end_start`).
        self._starting = asyncio.get_running_loop().create_task(self._inner.start())
        await asyncio.shield(self._starting)

    async def find(self, topic: str) -> None:
        """Return when the partitions of a topic are known. Raises KafkaError after the request time-out."""
        await self._inner.partitions_for(topic)

    def partition_of(self, topic: str, key: bytes) -> int | None:
        """Return the partition that aiokafka sends a key to; None if the partitions of the topic are not known."""
        partitions = self._inner.client.cluster.partitions_for_topic(topic)
        if not partitions:
            return None
        # As AIOKafkaProducer._partition does it. A key is never None here, so which are available does not matter.
        partition: int = self._partitioner(key, list(partitions), [])
        return partition

    async def send(self, record: Outgoing) -> asyncio.Future[Any]:
        """Queue a record. Raises KafkaError."""
        future: asyncio.Future[Any] = await self._inner.send(
            record.topic, record.value, key=record.key, headers=list(record.headers)
        )
        return future

    async def send_alone(self, record: Outgoing) -> asyncio.Future[Any]:
        """Queue a record in a batch of its own. Raises KafkaError."""
        await self.find(record.topic)
        batch = self._inner.create_batch()
        batch.append(key=record.key, value=record.value, timestamp=None, headers=list(record.headers))
        batch.close()
        partition = self.partition_of(record.topic, record.key)
        future: asyncio.Future[Any] = await self._inner.send_batch(batch, record.topic, partition=partition)
        return future

    async def reach(self) -> None:
        """Ask a broker for the cluster. Raises KafkaError."""
        await self._inner.client.fetch_all_metadata()

    async def stop(self, seconds: float) -> None:
        """Flush for so long at most, then end everything by force."""
        await self._end_start(seconds)
        loop = asyncio.get_running_loop()
        flushing = loop.create_task(self._inner.stop())
        await asyncio.wait({flushing}, timeout=seconds)
        if not flushing.done():
            await _cancel([*self._tasks(), flushing])
        with suppress(asyncio.CancelledError, Exception):
            flushing.result()
        self._fail_what_waits()
        await self._close_connections()

    async def _end_start(self, seconds: float) -> None:
        """End a start that is under way, and close the connection that aiokafka then forgets."""
        starting = self._starting
        if starting is None:
            return
        await asyncio.wait({starting}, timeout=seconds)
        if not starting.done():
            bootstrap = getattr(getattr(starting.get_coro(), "cr_await", None), "cr_frame", None)
            connection = bootstrap.f_locals.get("bootstrap_conn") if bootstrap is not None else None
            await _cancel([starting])
            if connection is not None:
                connection.close()
        with suppress(asyncio.CancelledError, Exception):
            starting.result()

    def _tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that work for this producer. aiokafka keeps most of them in local variables."""
        parts = (self._inner._sender, self._inner.client, self._inner._message_accumulator)  # noqa: SLF001
        return [
            task
            for task in asyncio.all_tasks()
            if (frame := getattr(task.get_coro(), "cr_frame", None)) is not None
            and any(frame.f_locals.get("self") is part for part in parts)
        ]

    def _fail_what_waits(self) -> None:
        """Let every acknowledgement that is still open fail."""
        accumulator = self._inner._message_accumulator  # noqa: SLF001 - nothing public does it
        for batches in accumulator._batches.values():  # noqa: SLF001
            # A batch that waits for a second try is not among the pending ones, from where its failure removes it.
            accumulator._pending_batches.update(batch for batch in batches if batch.retry_count)  # noqa: SLF001
        waiting = [*accumulator._pending_batches]  # noqa: SLF001 - it changes while they fail
        waiting += [batch for batches in accumulator._batches.values() for batch in batches]  # noqa: SLF001
        for batch in waiting:
            batch.failure(ProducerClosed())
            if batch._drain_waiter.done() and not batch._drain_waiter.cancelled():  # noqa: SLF001
                batch._drain_waiter.exception()  # noqa: SLF001 - nobody may wait for it: it was looked at
        accumulator._exception = ProducerClosed()  # noqa: SLF001

    async def _close_connections(self) -> None:
        """Close what `client.close()` may have left: it is not reached if anything before it fails."""
        client = self._inner.client
        await _cancel([task for task in (client._sync_task,) if task is not None])  # noqa: SLF001
        closing = {}
        for connection in client._conns.values():  # noqa: SLF001
            writer = connection._writer  # noqa: SLF001 - gone once it is closed
            ended = connection.close()
            if writer is not None and ended is not None and not ended.done():
                closing[ended] = writer.transport
        if closing:
            _, late = await asyncio.wait(closing, timeout=CONNECTION_SECONDS_MAX)
            for ended in late:
                closing[ended].abort()
        await asyncio.sleep(0)  # the readers of the connections end


async def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until each has ended, however it ends."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
