"""The in-memory broker with its clients, and aiokafka on Kafka, pass the same cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from tests.sim.broker.admin import SimAdmin
from tests.sim.broker.consumer import SimConsumer
from tests.sim.broker.producer import SimProducer
from tests.sim.contract import broker_cases
from tests.sim.contract.in_memory import cases_of, run_in_memory
from tests.sim.world.current import current

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.support.servers import Servers

_CASES = pytest.mark.parametrize("case", cases_of(broker_cases), ids=lambda case: case.__name__)


class _Saying(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """The usual assignor, which says something of its member."""

    @classmethod
    def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        return ConsumerProtocolMemberMetadata(cls.version, list(topics), b"said")


class _Place:
    """A topic and a group, and the classes of the clients."""

    def __init__(self, address: str, producer: Any, consumer: Any, admin: Any) -> None:
        self.topic = f"contract.{uuid4().hex[:10]}"
        self.group = f"group.{self.topic}"
        self._address = address
        self._producer, self._consumer, self._admin = producer, consumer, admin
        self._opened: list[Any] = []

    def producer(self) -> Any:
        self._opened.append(self._producer(bootstrap_servers=self._address, enable_idempotence=True, linger_ms=0))
        return self._opened[-1]

    def consumer(self, instance: str, listener: Any = None) -> Any:
        consumer = self._consumer(
            bootstrap_servers=self._address,
            group_id=self.group,
            group_instance_id=instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=(_Saying,),
        )
        consumer.subscribe(topics=[self.topic], listener=listener)
        self._opened.append(consumer)
        return consumer

    def admin(self) -> Any:
        return self._admin(bootstrap_servers=self._address)

    async def append_unreadable(self, partition: int) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        for one in self._opened:
            await one.stop()


class _InMemory(_Place):
    async def append_unreadable(self, partition: int) -> None:
        current().broker.append(TopicPartition(self.topic, partition), b"k", b"2", is_unreadable=True)


class _NotUtf8(str):
    """A header's name as no client of Kafka writes it."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"x-\xff\xfe"


class _OnKafka(_Place):
    async def append_unreadable(self, partition: int) -> None:
        with pytest.MonkeyPatch.context() as patched:
            for module in (message_accumulator, producer_module):
                patched.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
            producer = self.producer()
            await producer.start()
            ack = await producer.send(self.topic, b"2", key=b"k", partition=partition, headers=[(_NotUtf8("x"), b"1")])
            await ack
            await producer.stop()


@_CASES
def test_in_memory(case: Any) -> None:
    """In virtual time."""

    async def run() -> None:
        place = _InMemory("in memory", SimProducer, SimConsumer, SimAdmin)
        current().broker.create(place.topic, 2)
        await case(place)

    run_in_memory(run)


@pytest.mark.servers
@_CASES
async def test_on_kafka(case: Any, servers: Servers) -> None:
    """On a topic of its own."""
    place = _OnKafka(servers.kafka, AIOKafkaProducer, AIOKafkaConsumer, AIOKafkaAdminClient)
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(place.topic, num_partitions=2, replication_factor=1)])
        await case(place)
    finally:
        await place.close()
        await admin.close()
