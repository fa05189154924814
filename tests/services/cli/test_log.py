"""Topics read as one log: in the order of append times, from a time on, to where they ended, whatever lies on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from countersign.contract import AccessGranted, AccessRequested
from countersign.operations import log as logs
from countersign.operations.log import TopicAbsentError, reading_log
from countersign.runtime.broker.kafka import KafkaConnection
from tests.support.events import an_access_granted, an_access_requested, clock, outgoing
from tests.support.kafka import publish, publish_raw

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Record
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers
TOPICS = (AccessRequested.topic, AccessGranted.topic)


class Unreadable(str):
    """The name of a header that is not what the protocol asks for."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        """Return what is not UTF-8."""
        return b"x-\xff\xfe"


async def between(log: logs.Log, starts: Any, ends: Any) -> list[Record]:
    return [record async for record in log.between(starts, ends)]


async def test_records_of_several_topics_come_in_the_order_in_which_they_were_appended(servers: Servers) -> None:
    """From a time on, each once; what comes after the look at the end is another look's."""
    since = clock()
    await asyncio.sleep(0.01)
    sent = []
    for _ in range(6):
        for event in (an_access_requested(), an_access_granted()):
            sent.append(event.request_id)
            await publish(servers.kafka, outgoing(event))  # one after the other, on any partition
    async with reading_log(KafkaConnection(bootstrap_servers=servers.kafka), TOPICS) as log:
        starts, ends = await log.at(since), await log.ends()
        await publish(servers.kafka, outgoing(late := an_access_requested()))
        found = await between(log, starts, ends)
        assert [record.value.decode().count(str(id_)) for record, id_ in zip(found, sent, strict=True)] == [1] * 12
        assert [record.appended_at for record in found] == sorted(record.appended_at for record in found)
        (after,) = await between(log, ends, await log.ends())
        assert str(late.request_id).encode() in after.value
        assert await between(log, ends, ends) == []


async def test_more_records_than_are_held_at_once(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of a partition is fetched when the one before it is used up: each record comes once."""
    monkeypatch.setattr(logs, "_RECORDS_MAX", 7)
    since = clock()
    events = [an_access_requested() for _ in range(300)]
    await publish(servers.kafka, *(outgoing(event) for event in events))
    async with reading_log(KafkaConnection(bootstrap_servers=servers.kafka), TOPICS) as log:
        found = await between(log, await log.at(since), await log.ends())
    assert len(found) == 300
    assert len({(record.partition, record.offset) for record in found}) == 300


async def test_a_record_that_cannot_be_taken_apart_is_passed_over(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header's name that is not UTF-8; the records around it on the same partition are read."""
    topic = f"test.hostile-{uuid4()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await publish_raw(servers.kafka, topic, b"1", b"before")
        with monkeypatch.context() as patched:
            for module in (message_accumulator, producer_module):
                patched.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
            await publish_raw(servers.kafka, topic, b"1", b"hostile", [(Unreadable("x"), b"1")])
        await publish_raw(servers.kafka, topic, b"1", b"behind")
        async with reading_log(KafkaConnection(bootstrap_servers=servers.kafka), (topic,)) as log:
            found = await between(log, await log.starts(), await log.ends())
            assert [record.value for record in found] == [b"before", b"behind"]
            assert log.untakeable == 1
    finally:
        await admin.delete_topics([topic])
        await admin.close()


async def test_a_topic_that_is_not_there_is_told(servers: Servers) -> None:
    with pytest.raises(TopicAbsentError, match=r"there is no topic access\.nothing\.v1"):
        async with reading_log(KafkaConnection(bootstrap_servers=servers.kafka), ("access.nothing.v1",)):
            pass
