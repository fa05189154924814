"""Membership of a process in the consumer group of its service."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.consuming.fetching import FETCH_MS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import structlog
    from aiokafka import ConsumerRecord

    from countersign.runtime.settings import KafkaSettings

# Longer than any outage that is waited for in place: leaving the group then would not bring the server back.
POLL_INTERVAL_MS_MAX = 900_000
# A member hears of a rebalance at its next heartbeat, and nobody reads until all have heard.
HEARTBEAT_MS = 500
# How long they wait for one that has gone without a word: static members do not say goodbye. One that is only slow
# stays a member for its session, and comes back into what was agreed without it.
REBALANCE_MS_MIN = 2_000
# A broker that does not answer is left for another after this. Who joins the group waits for the others on top of it.
ANSWER_MS_MAX = 10_000
# What one fetch brings of one partition: in a backlog each has its turn within seconds. A longer record still comes.
PARTITION_BYTES_MAX = 256 * 1024
# What a patient fetch waits for, within its time. In a backlog there is as much at once.
TOGETHER_BYTES_MIN = 64 * 1024

PROCESS_ID_BYTES = 8


@dataclass(slots=True)
class Member:
    """The names of a process in the group `countersign.<service>`.

    `instance_id` is the same after a restart, which then takes 0.1 s and not a session. `process_id` is drawn at random
    and goes to Kafka with each join: by it a process tells itself from another one that was given the same instance
    name. (A client id would not do: Kafka keeps that of the first process that joined with an instance id.)
    `rejoins` goes with it: Kafka assigns the partitions anew only for a member that has something new to say.
    """

    group_id: str
    instance_id: str
    client_id: str
    process_id: bytes
    rejoins: int = 0

    @classmethod
    def of(cls, service: str, instance: str, lane: str = "") -> Self:
        """Return the names of this process, or of one of its lanes."""
        return cls(
            group_id=f"countersign.{service}",
            instance_id=f"{service}{lane}-{instance}",
            client_id=f"countersign.{service}.{instance}{lane}",
            process_id=secrets.token_bytes(PROCESS_ID_BYTES),
        )

    def open_consumer(self, settings: KafkaSettings, delay_ms_max: int = 0) -> GroupConsumer:
        """Return a new consumer of the group, not started yet.

        With `delay_ms_max` the broker keeps records for so long, or until there are 64 KiB of them.
        """
        rebalance_ms = max(REBALANCE_MS_MIN, settings.session_timeout_ms // 3)
        consumer: GroupConsumer = AIOKafkaConsumer(
            **settings.arguments(),
            group_id=self.group_id,
            group_instance_id=self.instance_id,
            client_id=self.client_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=rebalance_ms,
            request_timeout_ms=rebalance_ms + ANSWER_MS_MAX,
            metadata_max_age_ms=METADATA_AGE_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS_MAX,
            fetch_max_wait_ms=delay_ms_max or FETCH_MS,
            fetch_min_bytes=TOGETHER_BYTES_MIN if delay_ms_max else 1,
            max_partition_fetch_bytes=PARTITION_BYTES_MAX,
            partition_assignment_strategy=(_Naming(self),),
        )
        return consumer


class _Naming(RoundRobinPartitionAssignor):  # type: ignore[misc] # aiokafka has no types
    """aiokafka's usual assignor, which sends the process id along: the protocol has a field for such things.

    aiokafka asks for a class. It only calls it, so an object does, and no class is made for each consumer.
    """

    def __init__(self, member: Member) -> None:
        self._member = member

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        told = self._member.process_id + b"%d" % self._member.rejoins
        return ConsumerProtocolMemberMetadata(self.version, list(topics), told)


class GroupConsumer(Protocol):
    """What a worker and its watchdog need of aiokafka's consumer. Whatever asks a broker may raise KafkaError."""

    def subscribe(self, topics: Sequence[str], *, listener: ConsumerRebalanceListener) -> None:
        """Ask for partitions of these topics; called again, for a new assignment."""
        ...

    async def start(self) -> None:
        """Connect and join the group. Raises KafkaError."""
        ...

    async def stop(self) -> None:
        """End all tasks and close all connections."""
        ...

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Return what is there of partitions that are not paused, and wait for it for so long."""
        ...

    def assignment(self) -> AbstractSet[TopicPartition]:
        """Return the partitions that are read here."""
        ...

    def paused(self) -> AbstractSet[TopicPartition]:
        """Return the partitions that are paused. A rebalance forgets them."""
        ...

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing of these. Raises IllegalStateError for one that is not assigned here."""
        ...

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch of these again. Raises IllegalStateError for one that is not assigned here."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Go on from this offset. Raises IllegalStateError for a partition that is not assigned here."""
        ...

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset behind the last record that was fetched. Raises IllegalStateError as `seek` does."""
        ...

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store how far the group has come."""
        ...

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offsets that the next records will have."""
        ...


class Reader(Protocol):
    """Whoever must know which partitions are its own."""

    async def revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Stop counting on these partitions."""
        ...

    async def assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Read these partitions from now on."""
        ...


class Listening(ConsumerRebalanceListener):  # type: ignore[misc] # aiokafka has no types
    """Passes rebalances on to a reader, and logs what fails there: aiokafka swallows it."""

    def __init__(self, reader: Reader, log: structlog.typing.FilteringBoundLogger) -> None:
        self._reader = reader
        self._log = log

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Tell the reader what it loses."""
        try:
            await self._reader.revoked(revoked)
        except Exception:
            self._log.exception("rebalance_failed", step="revoked", partitions=len(revoked))
            raise

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Tell the reader what it gets."""
        try:
            await self._reader.assigned(assigned)
        except Exception:
            self._log.exception("rebalance_failed", step="assigned", partitions=len(assigned))
            raise
