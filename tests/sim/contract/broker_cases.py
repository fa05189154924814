"""What the runtime relies on in aiokafka and Kafka: each case holds in memory and on a real broker.

A case is given a `Place`: two topics of two partitions, and functions that make clients.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, MessageSizeTooLargeError, ProducerClosed

if TYPE_CHECKING:
    from collections.abc import Callable


class Place(Protocol):
    """Where a case happens. Consumers are members of one group; two topics have two partitions each."""

    topic: str
    group: str

    def producer(self) -> Any:
        """Return a producer that is not started."""
        ...

    def consumer(self, instance: str, listener: Any = None) -> Any:
        """Return a consumer of the topic that is not started."""
        ...

    def admin(self) -> Any:
        """Return an admin client that is not started."""
        ...

    async def append_unreadable(self, partition: int) -> None:
        """Append a record that has a header whose name is not UTF-8."""
        ...


class Heard(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self.heard.append(("revoked", len(revoked)))

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self.heard.append(("assigned", len(assigned)))


async def _until(check: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - the state is elsewhere and sets no event
            await asyncio.sleep(0.05)


async def _sent(place: Place, *values: bytes, partition: int = 0) -> None:
    producer = place.producer()
    await producer.start()
    for value in values:
        ack = await producer.send(place.topic, value, key=b"k", partition=partition, headers=[("h", b"\xff")])
        await ack
    await producer.stop()


async def _read(consumer: Any, count: int, *partitions: TopicPartition) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            got = await consumer.getmany(*partitions, timeout_ms=200, max_records=2)
            found += [record for records in got.values() for record in records]
    return found


async def _raises_in_the_end(consumer: Any, partition: TopicPartition, got: list[Any]) -> bool:
    try:
        for _ in range(30):
            found = await consumer.getmany(partition, timeout_ms=500, max_records=1)
            got += found.get(partition, ())
    except UnicodeDecodeError:
        return True
    return False


async def what_is_acknowledged_can_be_read(place: Place) -> None:
    """With its key, value, headers, offset and the broker's time."""
    await _sent(place, b"1", b"2", b"3")
    consumer = place.consumer("a")
    await consumer.start()
    records = await _read(consumer, 3)
    assert [(r.key, r.value, r.offset, tuple(r.headers)) for r in records] == [
        (b"k", value, offset, (("h", b"\xff"),)) for offset, value in enumerate((b"1", b"2", b"3"))
    ]
    assert all(record.timestamp > 1_700_000_000_000 for record in records)
    assert await consumer.position(TopicPartition(place.topic, 0)) == 3
    assert await consumer.end_offsets([TopicPartition(place.topic, 0)]) == {TopicPartition(place.topic, 0): 3}
    assert await consumer.getmany(timeout_ms=100) == {}
    await consumer.stop()


async def a_producer_that_was_stopped_takes_nothing(place: Place) -> None:
    """Stopping it twice is no error; too large a record is refused before it is sent."""
    producer = place.producer()
    await producer.start()
    with pytest.raises(MessageSizeTooLargeError):
        await producer.send(place.topic, bytes(1_100_000), key=b"k")
    await producer.stop()
    await producer.stop()
    with pytest.raises(ProducerClosed):
        await producer.send(place.topic, b"1", key=b"k")


async def a_static_member_comes_back_to_what_it_committed(place: Place) -> None:
    """Without waiting for a session, and to all of its partitions."""
    await _sent(place, b"1", b"2", b"3")
    first = place.consumer("a")
    await first.start()
    await _read(first, 3)
    await first.commit({TopicPartition(place.topic, 0): 2})
    await first.stop()
    with pytest.raises(ConsumerStoppedError):
        await first.getmany(timeout_ms=10)
    second = place.consumer("a")
    async with asyncio.timeout(5):
        await second.start()
    assert {one.partition for one in second.assignment()} == {0, 1}
    assert [record.value for record in await _read(second, 1)] == [b"3"]
    await second.stop()


async def a_paused_partition_gives_nothing_until_it_is_resumed(place: Place) -> None:
    """Its position stays, and can be set."""
    await _sent(place, b"1", b"2")
    partition = TopicPartition(place.topic, 0)
    consumer = place.consumer("a")
    await consumer.start()
    consumer.pause(partition)
    assert consumer.paused() == {partition}
    assert await consumer.getmany(timeout_ms=300) == {}
    consumer.seek(partition, 1)
    consumer.resume(partition)
    assert [record.value for record in await _read(consumer, 1)] == [b"2"]
    consumer.seek(partition, 0)
    assert [record.value for record in await _read(consumer, 2)] == [b"1", b"2"]
    await consumer.stop()


async def what_is_not_assigned_cannot_be_used(place: Place) -> None:
    """To seek, pause, resume, or commit there is an error in the state."""
    consumer = place.consumer("a")
    await consumer.start()
    missing = TopicPartition("nowhere", 0)
    for act in (lambda: consumer.seek(missing, 1), lambda: consumer.pause(missing), lambda: consumer.resume(missing)):
        with pytest.raises(IllegalStateError):
            act()
    with pytest.raises(IllegalStateError):
        await consumer.commit({missing: 1})
    await consumer.stop()


async def a_second_member_takes_its_share(place: Place) -> None:
    """Everything is revoked first, a pause is forgotten, and both are told of what they have then."""
    heard = Heard()
    first, second = place.consumer("a", heard), place.consumer("b")
    await first.start()
    await _until(lambda: heard.heard == [("revoked", 0), ("assigned", 2)])
    first.pause(*first.assignment())
    await second.start()
    await _until(lambda: len(heard.heard) == 4)
    assert heard.heard[2:] == [("revoked", 2), ("assigned", 1)]
    assert len(first.assignment() | second.assignment()) == 2
    assert len(first.assignment() & second.assignment()) == 0
    assert first.paused() == set()
    await first.stop()
    await second.stop()


async def the_group_can_be_described(place: Place) -> None:
    """Who reads what, and what each member said of itself."""
    consumer = place.consumer("a")
    await consumer.start()
    admin = place.admin()
    await admin.start()
    (topic,) = await admin.describe_topics([place.topic])
    assert {part["partition"] for part in topic["partitions"]} == {0, 1}
    answers = await admin.describe_consumer_groups([place.group])
    ((code, _, state, _, _, members, *_),) = answers[0].groups
    assert (code, state) == (0, "Stable")
    ((member_id, _, host, metadata, assignment),) = [member[:5] for member in members]
    assert member_id[:-37] == "a"
    assert host.startswith("/")
    assert ConsumerProtocolMemberMetadata.decode(metadata).user_data == b"said"
    read = set(ConsumerProtocolMemberAssignment.decode(assignment).partitions())
    assert read == {TopicPartition(place.topic, 0), TopicPartition(place.topic, 1)}
    await admin.close()
    await consumer.stop()


async def a_record_that_cannot_be_taken_apart_raises_at_every_fetch(place: Place) -> None:
    """The position stays behind the last one that was read, one at a time; behind the bad one it goes on."""
    await _sent(place, b"1")
    await place.append_unreadable(0)
    await _sent(place, b"3")
    partition = TopicPartition(place.topic, 0)
    consumer = place.consumer("a")
    await consumer.start()
    got: list[Any] = []
    for _ in range(3):
        assert await _raises_in_the_end(consumer, partition, got)
        assert await consumer.position(partition) == 1
    assert [record.value for record in got] == [b"1"]
    consumer.seek(partition, 2)
    assert [record.value for record in await _read(consumer, 1, partition)] == [b"3"]
    await consumer.stop()
