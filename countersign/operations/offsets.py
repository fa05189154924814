"""Sets the offsets of a group that does not run: planned first, with what is read again and what is never read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from aiokafka import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from countersign.operations.connecting import Cluster

Target = Literal["time", "offset", "earliest", "latest"]
_MEMBERS = 5  # places in Kafka's answer about a group
# Measured on two cores with a log line each: 7,500 to 9,400 events a second and core (the slower one is taken).
RECORDS_PER_SECOND = 7_500


class GroupActiveError(Exception):
    """The group has members, which would overwrite what is set."""


@dataclass(frozen=True, slots=True)
class Move:
    """One partition: `before` is None where the group had committed nothing, and would begin at the first record."""

    partition: int
    before: int | None
    after: int
    first: int
    end: int

    @property
    def again(self) -> int:
        """How many records are read that were read before."""
        return max(0, self._from - max(self.after, self.first))

    @property
    def skipped(self) -> int:
        """How many records are never read."""
        return max(0, min(self.after, self.end) - self._from)

    @property
    def left(self) -> int:
        """How many records there are to read afterwards."""
        return max(0, self.end - self.after)

    @property
    def _from(self) -> int:
        return self.first if self.before is None else max(self.before, self.first)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetPlan:
    """What a reset does to a group on a topic."""

    group: str
    topic: str
    members: int
    moves: Sequence[Move]

    @property
    def again(self) -> int:
        """How many records are read again, over all partitions."""
        return sum(move.again for move in self.moves)

    @property
    def skipped(self) -> int:
        """How many records are never read, over all partitions."""
        return sum(move.skipped for move in self.moves)

    @property
    def catching_up(self) -> timedelta:
        """How long the group reads what is left, at a pace measured elsewhere: nobody new gets in before that."""
        return timedelta(seconds=sum(move.left for move in self.moves) / RECORDS_PER_SECOND)

    @property
    def changes(self) -> bool:
        """Return True if any partition gets another offset."""
        return any(move.before != move.after for move in self.moves)

    def undo(self) -> dict[str, Any]:
        """Return what an undo file holds: the offsets as they were, by partition; null where there was none."""
        return {
            "group": self.group,
            "topic": self.topic,
            "offsets": {str(move.partition): move.before for move in self.moves},
        }

    def document(self) -> dict[str, Any]:
        """Return the plan for JSON and for the audit row."""
        moves = [asdict(move) | {"again": move.again, "skipped": move.skipped} for move in self.moves]
        return {"group": self.group, "topic": self.topic, "again": self.again, "skipped": self.skipped, "moves": moves}


class Offsets:
    """Plans and sets offsets. `cluster` is connected as the group. Raises KafkaError, OSError, TimeoutError."""

    def __init__(self, cluster: Cluster, group: str, topic: str) -> None:
        self._cluster = cluster
        self._group = group
        self._topic = topic

    async def plan(self, target: Target, value: datetime | int | None = None) -> ResetPlan:
        """Return the plan of a reset; `value` is the time or the offset. Raises LookupError if there is no topic."""
        partitions = await self._partitions()
        firsts, ends = await self._bounds(partitions)
        wanted = dict(ends)
        if target == "earliest":
            wanted = dict(firsts)
        elif target == "offset" and isinstance(value, int):
            wanted = dict.fromkeys(partitions, value)
        elif target == "time" and isinstance(value, datetime):
            millis = int(value.astimezone(UTC).timestamp() * 1000)
            found = await self._cluster.consumer.offsets_for_times(dict.fromkeys(partitions, millis))
            wanted = {each: found[each].offset if found.get(each) else ends[each] for each in partitions}
        return await self._planned({each.partition: offset for each, offset in wanted.items()})

    async def plan_back(self, offsets: Mapping[int, int | None]) -> ResetPlan:
        """Return the plan that sets offsets as an undo file says; where there was none, to the first record."""
        firsts, _ = await self._bounds(await self._partitions())
        first_of = {each.partition: first for each, first in firsts.items()}
        if unknown := offsets.keys() - first_of.keys():
            raise LookupError(f"{self._topic} has no partition {min(unknown)}")
        return await self._planned({each: first_of[each] if to is None else to for each, to in offsets.items()})

    async def execute(self, plan: ResetPlan) -> None:
        """Commit the offsets of a plan. Raises GroupActiveError if the group has members by now."""
        if await self._members():
            raise GroupActiveError
        offsets = {TopicPartition(self._topic, move.partition): move.after for move in plan.moves}
        self._cluster.consumer.assign(list(offsets))
        await self._cluster.consumer.commit(offsets)

    async def _planned(self, wanted: Mapping[int, int]) -> ResetPlan:
        partitions = [TopicPartition(self._topic, number) for number in sorted(wanted)]
        firsts, ends = await self._bounds(partitions)
        committed = await self._cluster.admin.list_consumer_group_offsets(self._group, partitions=partitions)
        moves = []
        for each in partitions:
            known = committed.get(each)
            before = None if known is None or known.offset < 0 else known.offset
            after = min(max(wanted[each.partition], firsts[each]), ends[each])
            moves.append(Move(each.partition, before, after, firsts[each], ends[each]))
        return ResetPlan(group=self._group, topic=self._topic, members=await self._members(), moves=moves)

    async def _partitions(self) -> list[TopicPartition]:
        partitions = await self._cluster.partitions(self._topic)
        if not partitions:
            raise LookupError(f"the cluster has no topic {self._topic}")
        return partitions

    async def _bounds(
        self, partitions: Sequence[TopicPartition]
    ) -> tuple[dict[TopicPartition, int], dict[TopicPartition, int]]:
        consumer = self._cluster.consumer
        return await consumer.beginning_offsets(list(partitions)), await consumer.end_offsets(list(partitions))

    async def _members(self) -> int:
        (answer,) = await self._cluster.admin.describe_consumer_groups([self._group])
        return sum(len(group[_MEMBERS]) for group in answer.groups)
