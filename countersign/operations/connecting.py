"""Connections to Kafka for one command: an administrator's client, and a consumer that commits nothing by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    for_code,
)

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.broker.closing import stop_clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from countersign.runtime.broker.kafka import KafkaConnection

T = TypeVar("T")
ANSWER_MS_MAX = 5_000
_ERROR, _STATE, _MEMBERS = 0, 2, 5  # places in Kafka's answer about a group
# A broker that just started, or that no group ever used, first makes or loads its table of groups.
_COORDINATOR_NOT_READY = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
_COORDINATOR_PAUSE_SECONDS = 0.2
REQUEST_MS_MAX = 10_000  # of one that changes something
# Ours: 12 partitions, a fetch in hand and one on its way, stay far below 200 MB.
_PARTITION_BYTES_MAX, _FETCH_BYTES_MAX = 256 * 1024, 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Group:
    """A group's state in Kafka's word, how many members it has, and how many ask for each topic.

    A process has a member for each of its lanes. While the group is rebalancing, Kafka does not tell who asks for what.
    """

    state: str
    members: int
    asking: Mapping[str, int] | None = None

    def members_for(self, topic: str) -> int:
        """Return how many members ask for a topic; all of them while that is not known."""
        return self.members if self.asking is None else self.asking.get(topic, 0)

    @property
    def free(self) -> bool:
        """Return True if nobody is a member, and nobody is becoming one."""
        return self.state in {"Empty", "Dead"} and not self.members


@dataclass(frozen=True, slots=True)
class Cluster:
    """Clients of one cluster. `consumer` is aiokafka's; nothing is assigned to it yet."""

    admin: AIOKafkaAdminClient
    consumer: Any

    async def partitions(self, topics: Iterable[str]) -> dict[str, list[TopicPartition]]:
        """Return the partitions of topics; none of one that is not there, which a consumer would wait for for ever."""
        described = await self.admin.describe_topics(sorted(topics))
        return {
            one["topic"]: sorted(TopicPartition(one["topic"], part["partition"]) for part in one["partitions"])
            for one in described
        }

    async def group(self, name: str) -> Group:
        """Return the state of a group; a group that nobody ever joined is "Dead".

        Ask this before the group's offsets: until the coordinator is ready, aiokafka reads its error as "no offsets".
        Raises KafkaError.
        """

        async def describe() -> Group:
            for answer in await self.admin.describe_consumer_groups([name]):
                for found in answer.groups:
                    if found[_ERROR]:
                        raise for_code(found[_ERROR])
                    members = found[_MEMBERS]
                    return Group(found[_STATE], len(members), _asking(members))
            return Group("Dead", 0)

        return await coordinated(describe)


def _asking(members: Sequence[Sequence[Any]]) -> dict[str, int] | None:
    """Return how many members ask for each topic; None if one of them is not told of."""
    found: Counter[str] = Counter()
    for _, _, _, metadata, _ in members:
        if not metadata:
            return None
        found.update(ConsumerProtocolMemberMetadata.decode(metadata).subscription)
    return dict(found)


async def coordinated(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what `ask` returns; while the group's coordinator is not ready, ask again for ANSWER_MS_MAX.

    Raises what `ask` raised last.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + ANSWER_MS_MAX / 1000
    while True:
        try:
            return await ask()
        except _COORDINATOR_NOT_READY:
            if loop.time() >= until:
                raise
        await asyncio.sleep(_COORDINATOR_PAUSE_SECONDS)


@asynccontextmanager
async def connected(kafka: KafkaConnection) -> AsyncIterator[Cluster]:
    """Connect to Kafka. Raises KafkaError, OSError and TimeoutError."""
    admin = AIOKafkaAdminClient(
        **kafka.arguments(), request_timeout_ms=ANSWER_MS_MAX, metadata_max_age_ms=METADATA_AGE_MS
    )
    consumer = AIOKafkaConsumer(
        **kafka.arguments(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=ANSWER_MS_MAX,
        metadata_max_age_ms=METADATA_AGE_MS,
        max_partition_fetch_bytes=_PARTITION_BYTES_MAX,
        fetch_max_bytes=_FETCH_BYTES_MAX,
    )
    try:
        async with asyncio.timeout(ANSWER_MS_MAX / 1000):
            await admin.start()
            await consumer.start()
        yield Cluster(admin, consumer)
    finally:
        await stop_clients(consumer.stop, admin.close)


async def answer_to(kafka: KafkaConnection, request: Any, *, group: str | None = None) -> Any:
    """Send one request that aiokafka's administrator's client has no method for; return the answer.

    It goes to the broker that coordinates `group`, or to any. Raises KafkaError, OSError and TimeoutError.
    """
    client = AIOKafkaClient(**kafka.arguments(), request_timeout_ms=REQUEST_MS_MAX, metadata_max_age_ms=METADATA_AGE_MS)
    try:
        await client.bootstrap()
        node = client.get_random_node()
        if group is not None:
            node = await coordinated(partial(client.coordinator_lookup, CoordinationType.GROUP, group))
        return await client.send(node, request)
    finally:
        await stop_clients(client.close)
