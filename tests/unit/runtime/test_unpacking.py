"""Batches that hold a record which aiokafka cannot take apart: each record has its own offset, and none is lost."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from countersign.runtime.consuming.fetching import letter_of
from countersign.runtime.consuming.unpacking import Odd, unpack
from tests.support.hostile import NotUtf8

PARTITION = TopicPartition("t", 3)
MADE_MS = 1_700_000_000_000


def a_batch(base: int, *offsets: int, hostile: tuple[int, ...] = (), last: int | None = None, codec: int = 0) -> bytes:
    """Return a batch as a broker keeps it; compaction leaves gaps, and the last offset as it was."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 1_000_000)
    for offset in offsets:
        name = NotUtf8("x") if offset in hostile else "x"
        builder.append(offset - base, MADE_MS + offset, b"k", b"v" * 100, [(name, b"1"), ("y", None)])
    builder._last_offset = (offsets[-1] if last is None else last) - base  # noqa: SLF001 - as compaction leaves it
    data = builder.build()
    data[:8] = base.to_bytes(8, "big")
    return bytes(data)


def test_behind_a_gap_an_odd_record_has_its_own_offset() -> None:
    """A compacted topic: of 10,001 offsets one is there."""
    found = unpack(a_batch(0, 0, 10_001, hostile=(10_001,)), PARTITION, 1, 500)
    assert found.messages == []
    assert found.odd == Odd(10_001, MADE_MS + 10_001)
    assert found.next_offset == 10_001


@pytest.mark.parametrize("codec", [0, 1])
def test_records_around_an_odd_one_in_its_batch_are_read(codec: int) -> None:
    """Before it, and, the next time, behind it. Compressed batches too."""
    data = a_batch(5, 5, 6, 7, 8, hostile=(6,), codec=codec) + a_batch(9, 9, 10)
    found = unpack(data, PARTITION, 5, 500)
    assert [message.offset for message in found.messages] == [5]
    assert found.odd == Odd(6, MADE_MS + 6)
    behind = unpack(data, PARTITION, 7, 500)
    assert [message.offset for message in behind.messages] == [7, 8, 9, 10]
    assert behind.odd is None
    assert behind.next_offset == 11
    assert behind.messages[0].headers == (("x", b"1"), ("y", None))
    assert (behind.messages[0].key, behind.messages[0].value) == (b"k", b"v" * 100)


def test_what_is_read_is_bounded_and_goes_on_behind_what_was_compacted_away() -> None:
    """So that each fetch makes progress."""
    data = a_batch(0, 0, 1, 2, 3)
    assert unpack(data, PARTITION, 0, 2).next_offset == 2
    assert unpack(a_batch(0, 0, hostile=(0,), last=9), PARTITION, 1, 500).next_offset == 10
    assert unpack(data[:-1], PARTITION, 0, 2).next_offset == 0  # cut off
    assert unpack(b"", PARTITION, 7, 2).next_offset == 7


def test_its_letter_says_when_it_was_appended() -> None:
    """By this it is told from another record at this place of a topic that was made anew."""
    record = letter_of(PARTITION, Odd(7, MADE_MS)).record
    assert (record.topic, record.partition, record.offset) == ("t", 3, 7)
    assert record.appended_at == datetime.fromtimestamp(MADE_MS / 1000, UTC)
