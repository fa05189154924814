"""Record batches taken apart by ourselves, where aiokafka cannot: it raises at a batch that holds one odd record."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord
from aiokafka.errors import LeaderNotAvailableError, NoError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import TopicPartition

WAIT_MS = 500
BYTES_MAX = 256 * 1024  # a longer batch still comes, alone
_UNCOMMITTED = 0  # as our consumers read
_HEAD = struct.Struct(">qi")  # the base offset of a batch, and its length after these bytes


@dataclass(frozen=True, slots=True)
class Odd:
    """A record with a header whose name is not UTF-8."""

    offset: int
    timestamp: int


@dataclass(slots=True)
class Unpacked:
    """Records up to an odd one, if there is one. `next_offset` is behind all of them, or that of the odd one."""

    next_offset: int
    messages: list[ConsumerRecord] = field(default_factory=list)
    odd: Odd | None = None


class _Batch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's parser in Python; an odd record comes as Odd, and the next one behind it."""

    _pos: int

    def _read_msg(self) -> Any:
        begin = self._pos
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            length, start = decode_varint(self._buffer, begin)
            _, at = decode_varint(self._buffer, start)
            delay, at = decode_varint(self._buffer, at)
            distance, _ = decode_varint(self._buffer, at)
            self._pos = start + length
            is_log_time = self.timestamp_type == self.LOG_APPEND_TIME
            timestamp = self.max_timestamp if is_log_time else self.first_timestamp + delay
            return Odd(self.base_offset + distance, timestamp)


def _batches(data: bytes) -> Iterator[_Batch]:
    """Yield the batches; the last one may be cut off."""
    at = 0
    while at + _HEAD.size <= len(data):
        _, length = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data):
            return
        yield _Batch(data[at:end])
        at = end


def unpack(data: bytes, partition: TopicPartition, first: int, most: int) -> Unpacked:
    """Return at most so many records from the offset `first` on, up to one that is odd. Each has its own offset."""
    found = Unpacked(first)
    for batch in _batches(data):
        for record in () if batch.is_control_batch else batch:
            if record.offset < first:  # a batch comes whole
                continue
            if isinstance(record, Odd):
                found.odd, found.next_offset = record, record.offset
                return found
            if len(found.messages) == most:
                return found
            found.messages.append(_message(partition, record))
            found.next_offset = record.offset + 1
        found.next_offset = max(found.next_offset, batch.next_offset)
    return found


def _message(partition: TopicPartition, record: Any) -> ConsumerRecord:
    return ConsumerRecord(
        partition.topic,
        partition.partition,
        record.offset,
        record.timestamp,
        record.timestamp_type,
        record.key,
        record.value,
        None,
        len(record.key or b""),
        len(record.value or b""),
        tuple(record.headers),
    )


async def fetch_unpacked(consumer: Any, partition: TopicPartition, first: int, most: int) -> Unpacked:
    """Fetch from the partition's leader over the consumer's own connection, and take apart what comes.

    Raises KafkaError.
    """
    client = consumer._client  # noqa: SLF001 - aiokafka lends its connections to nobody
    node = client.cluster.leader_for_partition(partition)
    if node in {None, -1}:
        raise LeaderNotAvailableError(partition)
    places = [(partition.partition, first, BYTES_MAX)]
    request = FetchRequest(WAIT_MS, 1, BYTES_MAX, _UNCOMMITTED, [(partition.topic, places)])
    response = await client.send(node, request)
    ((_, ((_, code, *_, data),)),) = response.topics
    if (error := for_code(code)) is not NoError:
        raise error(partition)
    return unpack(bytes(data or b""), partition, first, most)
