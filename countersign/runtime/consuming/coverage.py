"""What Kafka says of the whole group: does somebody read every partition, and is our instance name ours alone."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import for_code

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.consuming.membership import PROCESS_ID_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.consuming.membership import Member

ANSWER_MS_MAX = 5_000
_UUID_LENGTH = 36
_STABLE = "Stable"


@dataclass(frozen=True, slots=True)
class Covered:
    """The state of a group at one moment.

    `absent` are topics without partitions. `unread` are partitions in nobody's assignment; while the group is
    rebalancing these are all. `namesake` is the address of another process with our instance name, if there is one.
    """

    absent: tuple[str, ...]
    unread: frozenset[TopicPartition]
    rebalancing: bool
    namesake: str | None


class Coverage:
    """Asks Kafka about the group of one member, on a connection of its own."""

    def __init__(self, kafka: KafkaConnection, member: Member, topics: Sequence[str]) -> None:
        self._kafka = kafka
        self._member = member
        self._topics = list(topics)
        self._admin: AIOKafkaAdminClient | None = None

    async def look(self) -> Covered:
        """Return what Kafka says now.

        Raises KafkaError, OSError or TimeoutError; the next look is then on a new connection.
        """
        try:
            admin = await self._ready()
            described = await admin.describe_topics(self._topics)
            answers = await admin.describe_consumer_groups([self._member.group_id])
        except BaseException:
            await self.close()
            raise
        (group,) = answers[0].groups
        code, _, state, _, _, members = group[:6]
        if code:
            raise for_code(code)(f"group {self._member.group_id}")
        partitions = {one["topic"]: {part["partition"] for part in one["partitions"]} for one in described}
        wanted = {TopicPartition(topic, number) for topic in self._topics for number in partitions.get(topic, ())}
        return Covered(
            absent=tuple(topic for topic in self._topics if not partitions.get(topic)),
            unread=frozenset(wanted - _read_by(members)),
            rebalancing=state != _STABLE,
            namesake=self._namesake(members),
        )

    async def close(self) -> None:
        """Close the connection."""
        admin, self._admin = self._admin, None
        if admin is not None:
            with suppress(Exception):
                await admin.close()

    async def _ready(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(
                **self._kafka.arguments(),
                client_id=self._member.client_id,
                request_timeout_ms=ANSWER_MS_MAX,
                metadata_max_age_ms=METADATA_AGE_MS,
            )
            await self._admin.start()
        return self._admin

    def _namesake(self, members: Iterable[Sequence[Any]]) -> str | None:
        """Return where the process is that Kafka holds for us, if it is another one.

        Kafka makes the id of a static member from its instance id and a UUID.
        """
        for member_id, _, host, metadata, _ in members:
            # While the group is rebalancing, Kafka tells no metadata.
            if metadata and member_id[: -_UUID_LENGTH - 1] == self._member.instance_id:
                process_id = ConsumerProtocolMemberMetadata.decode(metadata).user_data[:PROCESS_ID_BYTES]
                if process_id != self._member.process_id:
                    return str(host).lstrip("/")
        return None


def _read_by(members: Iterable[Sequence[Any]]) -> set[TopicPartition]:
    """Return the partitions that are assigned to a member; while the group is rebalancing these are none."""
    found: set[TopicPartition] = set()
    for *_, assignment in members:
        if assignment:
            found |= set(ConsumerProtocolMemberAssignment.decode(assignment).partitions())
    return found
