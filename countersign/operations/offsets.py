"""A group's place on a topic, moved: what that would do, the move itself, and the way back.

Nothing here decides whether it is wise. Whoever only wants events folded again uses a replay, for which nobody waits.
"""

from __future__ import annotations

import json
import math
import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from aiokafka.errors import IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError, for_code
from aiokafka.protocol.commit import OffsetCommitRequest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from countersign.operations.connecting import answer_to
from countersign.runtime.consuming.seeking import offsets_at
from countersign.runtime.messages.findings import findings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from aiokafka import TopicPartition

    from countersign.operations.connecting import Cluster
    from countersign.runtime.broker.kafka import KafkaConnection

RECORDS_PER_SECOND = 200.0  # chosen: far below what a service reads, so that nobody waits for longer than was said
Target: TypeAlias = "Literal['earliest', 'latest'] | datetime | Undo"
_FILE_MODE = 0o600
_ACTIVE = (IllegalGenerationError, RebalanceInProgressError, UnknownMemberIdError)


class OffsetsError(Exception):
    """A group's offsets cannot be moved; the text is a sentence for a person."""


class Move(BaseModel):
    """One partition: where the group is, where it is to be, and where the partition's records begin and end.

    `committed` None: the group never committed here, and begins at `start`.
    """

    model_config = ConfigDict(frozen=True)

    partition: int
    committed: int | None
    start: int
    end: int
    target: int

    @property
    def position(self) -> int:
        """Return the next record that the group would read now."""
        return self.start if self.committed is None else min(max(self.committed, self.start), self.end)

    @property
    def again(self) -> int:
        """Return how many records would be read once more."""
        return max(0, self.position - self.target)

    @property
    def skipped(self) -> int:
        """Return how many records would never be read."""
        return max(0, self.target - self.position)

    @property
    def unread(self) -> int:
        """Return how many records would lie ahead of the group."""
        return self.end - self.target


class Undo(BaseModel):
    """Where a group was before a move: what leads back."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    group: str = Field(min_length=1)
    topic: str = Field(min_length=1)
    made_at: datetime
    offsets: dict[int, int] = Field(min_length=1)

    @classmethod
    def parsed(cls, text: bytes) -> Self:
        """Return what a file holds. Raises OffsetsError."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise OffsetsError(f"it is no undo file of `offsets reset`: {'; '.join(findings(error))}") from None

    def write(self, path: Path) -> None:
        """Write a new file, down to the disk. Raises FileExistsError for one that is there, and other OSErrors."""
        path.touch(_FILE_MODE, exist_ok=False)
        with path.open("w", encoding="utf-8") as file:
            json.dump(self.model_dump(mode="json"), file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())


class Reset(BaseModel):
    """What moving a group would do on one topic."""

    model_config = ConfigDict(frozen=True)

    group: str
    topic: str
    members: int
    moves: tuple[Move, ...]

    @property
    def again(self) -> int:
        """Return how many records would be read once more."""
        return sum(one.again for one in self.moves)

    @property
    def skipped(self) -> int:
        """Return how many records would never be read."""
        return sum(one.skipped for one in self.moves)

    @property
    def changes(self) -> tuple[Move, ...]:
        """Return the partitions whose committed offset would change."""
        return tuple(one for one in self.moves if one.committed != one.target)

    def waits(self, records_per_second: float) -> timedelta:
        """Return how long the group would need, at that speed, to come to the end; whole seconds, rounded up."""
        return timedelta(seconds=math.ceil(sum(one.unread for one in self.moves) / records_per_second))

    @property
    def refusal(self) -> str | None:
        """Return why it cannot be done now: a group that has members would commit over it."""
        if not self.members:
            return None
        members = f"{self.members} member{'s' * (self.members > 1)}"
        return f"{self.group} has {members}: stop every process of the service first, then ask again"

    def undo(self, now: datetime) -> Undo:
        """Return the way back. Where the group had committed nothing that is where it would have begun."""
        offsets = {one.partition: one.position if one.committed is None else one.committed for one in self.changes}
        return Undo(group=self.group, topic=self.topic, made_at=now, offsets=offsets)


async def plan_reset(
    cluster: Cluster, group: str, topic: str, target: Target, partitions: Collection[int] | None = None
) -> Reset:
    """Return what moving a group would do. Raises OffsetsError, KafkaError, OSError and TimeoutError."""
    every = (await cluster.partitions([topic])).get(topic, [])
    if not every:
        raise OffsetsError(f"Kafka has no topic {topic}")
    present = {one.partition: one for one in every}
    wanted = sorted(present if partitions is None else partitions)
    if isinstance(target, Undo):
        wanted = sorted(set(wanted) & set(target.offsets) if partitions is not None else target.offsets)
    if unknown := [number for number in wanted if number not in present]:
        raise OffsetsError(f"{topic} has no partition {', '.join(map(str, unknown))}")
    chosen = [present[number] for number in wanted]
    members, committed = await _group(cluster, group)
    starts = await cluster.consumer.beginning_offsets(chosen)
    ends = await cluster.consumer.end_offsets(chosen)
    targets = await _targets(cluster, chosen, target, starts, ends)
    moves = [
        Move(
            partition=one.partition,
            committed=committed.get(one),
            start=starts[one],
            end=ends[one],
            target=min(max(targets[one], starts[one]), ends[one]),
        )
        for one in chosen
    ]
    return Reset(group=group, topic=topic, members=members, moves=tuple(moves))


async def _group(cluster: Cluster, group: str) -> tuple[int, dict[TopicPartition, int]]:
    """Return how many members a group has, one at least if it is not free, and what it has committed."""
    found = await cluster.group(group)
    members = 0 if found.free else max(1, found.members)
    offsets = await cluster.admin.list_consumer_group_offsets(group)
    return members, {one: at.offset for one, at in offsets.items() if at.offset >= 0}


async def _targets(
    cluster: Cluster,
    partitions: Sequence[TopicPartition],
    target: Target,
    starts: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    if isinstance(target, Undo):
        return {one: target.offsets[one.partition] for one in partitions}
    if target == "earliest":
        return starts
    if target == "latest":
        return ends
    assert isinstance(target, datetime)
    return await offsets_at(cluster.consumer, partitions, target)


async def commit(kafka: KafkaConnection, reset: Reset) -> None:
    """Move the group, as nobody's member: the broker itself refuses that for a group that has members by now.

    Raises OffsetsError, KafkaError, OSError and TimeoutError.
    """
    nobody = (OffsetCommitRequest.DEFAULT_GENERATION_ID, "", OffsetCommitRequest.DEFAULT_RETENTION_TIME)
    offsets = [(one.partition, one.target, "") for one in reset.changes]
    request = OffsetCommitRequest(reset.group, *nobody, [(reset.topic, offsets)])
    answer = await answer_to(kafka, request, group=reset.group)
    refused = {code for _, partitions in answer.topics for _, code in partitions if code}
    for error in map(for_code, sorted(refused)):
        if error in _ACTIVE:
            raise OffsetsError(f"{reset.group} has members by now: nothing was moved; stop the service first")
        raise error(f"offsets of {reset.group}")
