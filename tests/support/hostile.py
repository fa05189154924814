"""Records as no client of Kafka writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pytest

    from countersign.runtime.messages.record import Outgoing


class NotUtf8(str):
    """A header's name that is not UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        """Return what is not UTF-8."""
        return b"x-\xff\xfe"


async def publish_in_one_batch(
    kafka: str, rows: Sequence[Outgoing], hostile: Collection[int], patched: pytest.MonkeyPatch
) -> None:
    """Publish rows to partition 0 as one batch; those at the places `hostile` have a name that is not UTF-8."""
    for module in (message_accumulator, producer_module):
        patched.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        batch = producer.create_batch()
        for place, row in enumerate(rows):
            headers = [*row.headers, (NotUtf8("x"), b"1")] if place in hostile else list(row.headers)
            assert batch.append(key=row.key, value=row.value, timestamp=None, headers=headers) is not None
        await (await producer.send_batch(batch, rows[0].topic, partition=0))
    finally:
        await producer.stop()
