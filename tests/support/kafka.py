"""Put records on topics and read them back, and wait for a state instead of for a time."""

from __future__ import annotations

import asyncio
import inspect
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.messages.record import Outgoing, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def arguments_of(kafka: str | KafkaConnection) -> dict[str, Any]:
    """Return aiokafka's arguments; an address alone is that of a broker that is open to all."""
    return KafkaConnection(bootstrap_servers=kafka).arguments() if isinstance(kafka, str) else kafka.arguments()


async def publish(kafka: str | KafkaConnection, *outgoing: Outgoing) -> None:
    """Publish records in the given order and wait until the broker has them."""
    producer = AIOKafkaProducer(**arguments_of(kafka), enable_idempotence=True, max_request_size=1_048_000)
    await producer.start()
    try:
        acks = [await producer.send(o.topic, o.value, key=o.key, headers=list(o.headers)) for o in outgoing]
        await asyncio.gather(*acks)
    finally:
        await producer.stop()


async def publish_raw(
    kafka: str | KafkaConnection,
    topic: str,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes]] = (),
) -> Record:
    """Publish anything at all, and return where it lies."""
    producer = AIOKafkaProducer(**arguments_of(kafka), max_request_size=1_048_000)
    await producer.start()
    try:
        pairs = tuple(headers)
        meta = await producer.send_and_wait(topic, value, key=key, headers=list(pairs))
    finally:
        await producer.stop()
    appended_at = datetime.fromtimestamp(meta.timestamp / 1000, UTC)
    return Record(meta.topic, meta.partition, meta.offset, key, value, pairs, appended_at)


async def read_topic(kafka: str | KafkaConnection, topic: str, from_start: bool = True) -> list[Record]:
    """Return what lies on a topic now, in the order of partitions and offsets; from its end, nothing."""
    if not from_start:
        return []
    consumer = AIOKafkaConsumer(topic, **arguments_of(kafka), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()  # without a group it is given all partitions at once
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        records: list[Record] = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                records += [
                    _record(message)
                    for message in (await consumer.getmany(partition, timeout_ms=200)).get(partition, ())
                ]
    finally:
        await consumer.stop()
    return sorted(records, key=lambda record: (record.partition, record.offset))


async def eventually(check: Callable[[], object], within: float = 10.0) -> None:
    """Wait until `check`, which may be a coroutine function, is true. Raises TimeoutError after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            found = check()
            if await found if inspect.isawaitable(found) else found:
                return
            await asyncio.sleep(0.05)  # the state is elsewhere and sets no event


def _record(message: object) -> Record:
    return Record(
        message.topic,  # type: ignore[attr-defined] # aiokafka has no types
        message.partition,  # type: ignore[attr-defined]
        message.offset,  # type: ignore[attr-defined]
        message.key,  # type: ignore[attr-defined]
        message.value,  # type: ignore[attr-defined]
        tuple(message.headers),  # type: ignore[attr-defined]
        datetime.fromtimestamp(message.timestamp / 1000, UTC),  # type: ignore[attr-defined]
    )
