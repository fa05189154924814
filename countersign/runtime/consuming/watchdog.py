"""No silent stall: lag without progress ends the process, and the supervisor starts it again.

After a broker's restart a consumer can stall without an error (aiokafka #703, #1154). And what nobody reads has no lag
that anybody sees: so the watchdog looks at the topics and at the whole group, and not only at what is assigned here.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Protocol

from aiokafka.errors import KafkaError

from countersign.clock import loop_seconds
from countersign.runtime.consuming.behind import Behind

if TYPE_CHECKING:
    import structlog
    from aiokafka import TopicPartition

    from countersign.runtime.consuming.consumer import Worker
    from countersign.runtime.consuming.coverage import Covered
    from countersign.runtime.consuming.membership import GroupConsumer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

LOOK_EVERY_SECONDS = 5.0
LOOK_FIRST_SECONDS = 0.1  # until Kafka has said for the first time who reads what: nothing is ready before
# Drawn anew each time: two processes with one name take it from each other in the rhythm of their heartbeats, and
# looks in the same rhythm would find the same one each time.
LOOK_HASTILY_MS = (150, 650)
HASTY_SECONDS = 6.0  # four assignments in this time are no ordinary rebalance
STALL_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 5.0
# A rebalance, in which nobody reads anything, is over by the next look.
UNREAD_SECONDS_MAX = 4.0
# Then the group is asked to assign its partitions anew, and not again before this.
REJOIN_EVERY_SECONDS = 15.0
# Two processes with one name throw each other out twice a second: which of them a look finds is chance.
NAMESAKE_SECONDS = 60.0


class StalledError(RuntimeError):
    """There is something to read, every server answers, and nothing moves."""


class Group(Protocol):
    """Says who reads what, of the whole group."""

    async def look(self) -> Covered:
        """Return what is so now. Raises KafkaError, OSError or TimeoutError."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


class Watchdog:
    """Measures lag, and raises StalledError when a partition does not move for 60 s without a known reason."""

    def __init__(
        self,
        worker: Worker,
        group: Group,
        *,
        health: Health,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._worker = worker
        self._group = group
        self._health = health
        self._metrics = metrics
        self._log = log
        self._behind = Behind()
        self._shown: set[TopicPartition] = set()
        self._moved: dict[TopicPartition, tuple[int, float]] = {}
        self._unread_since: dict[TopicPartition, float] = {}
        self._rejoined: float | None = None
        self._namesake_seen: float | None = None
        self._covered_once = False

    async def run(self) -> None:
        """Look every 5 s. Raises StalledError."""
        try:
            while True:
                await asyncio.sleep(self._pause(loop_seconds()))
                consumer = self._worker.consumer
                if consumer is None:
                    self._moved.clear()
                    self._unread_since.clear()
                    continue
                covered = await self._look_at_group()
                if covered is not None:
                    self._judge_group(covered, loop_seconds())
                    await self._mend_group(covered, loop_seconds())
                lag = await self._lag(consumer)
                if lag is not None:
                    self._judge(lag, loop_seconds())
        finally:
            await self._group.close()

    def _pause(self, now: float) -> float:
        """Return the seconds until the next look: fewer while partitions come and go, and nobody knows why."""
        if not self._covered_once:
            return LOOK_FIRST_SECONDS
        times = self._worker.assigned_at
        hasty = len(times) == times.maxlen and now - times[0] < HASTY_SECONDS
        known = self._namesake_seen is not None and now - self._namesake_seen < NAMESAKE_SECONDS / 2
        if not hasty or known:
            return LOOK_EVERY_SECONDS
        least, most = LOOK_HASTILY_MS
        return (least + secrets.randbelow(most - least)) / 1000

    async def _look_at_group(self) -> Covered | None:
        """Return what Kafka says of the group, or None while it does not answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                covered = await self._group.look()
        except (KafkaError, OSError, TimeoutError) as error:
            self._health.tell("kafka.group", f"Kafka does not say who reads what: {type(error).__name__}")
            self._unread_since.clear()
            return None
        self._covered_once = True
        return covered

    def _judge_group(self, covered: Covered, now: float) -> None:
        self._judge_names(covered.namesake, now)
        absent = f"Kafka has no partitions of {', '.join(covered.absent)}: create what is missing"
        self._health.tell("kafka.topics", absent if covered.absent else None)
        if covered.absent:
            self._log.warning("topics_absent", topics=list(covered.absent))
        self._unread_since = {one: self._unread_since.get(one, now) for one in covered.unread}
        longest = max((now - since for since in self._unread_since.values()), default=0.0)
        if longest < UNREAD_SECONDS_MAX:
            self._health.tell("kafka.group", None)
            return
        why = "the group is rebalancing" if covered.rebalancing else "they are assigned to nobody"
        self._health.tell("kafka.group", f"{len(covered.unread)} partitions are not read: {why}")
        self._log.warning("partitions_unread", partitions=len(covered.unread), rebalancing=covered.rebalancing)
        if longest > STALL_SECONDS_MAX and not covered.rebalancing:
            self._log.error("stalled", partitions_unread=len(covered.unread))
            raise StalledError(f"{len(covered.unread)} partitions are assigned to nobody for {longest:.0f} s")

    async def _mend_group(self, covered: Covered, now: float) -> None:
        """Let the group assign its partitions anew if it misses some and does not do so by itself."""
        if not covered.unread or covered.rebalancing:
            return
        if self._rejoined is None or now - self._rejoined > REJOIN_EVERY_SECONDS:
            self._rejoined = now
            self._log.warning("group_rejoined", partitions_unread=len(covered.unread))
            await self._worker.rejoin()

    def _judge_names(self, namesake: str | None, now: float) -> None:
        instance = self._worker.member.instance_id
        if namesake is not None:
            if self._namesake_seen is None:
                self._log.error(
                    "instance_name_taken",
                    instance=instance,
                    other_at=namesake,
                    what_to_do="give each process its own COUNTERSIGN_INSTANCE, or end one of the two",
                )
            self._namesake_seen = now
            self._health.tell(
                "kafka.instance",
                f"another process, at {namesake}, has our instance name {instance}: "
                "give each process its own COUNTERSIGN_INSTANCE, or end one of the two",
            )
        elif self._namesake_seen is not None and now - self._namesake_seen > NAMESAKE_SECONDS:
            self._namesake_seen = None
            self._log.info("instance_name_free", instance=instance)
            self._health.tell("kafka.instance", None)

    async def _lag(self, consumer: GroupConsumer) -> dict[TopicPartition, tuple[int, int]] | None:
        """Return position and lag by partition, or None while Kafka does not answer or the consumer is replaced."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                found = await self._worker.ask(consumer, self._positions(consumer))
        except (KafkaError, OSError, TimeoutError) as error:
            self._health.tell("kafka.consumer", f"Kafka does not answer: {type(error).__name__}")
            self._moved.clear()
            return None
        if found is not None:
            self._health.tell("kafka.consumer", None)
        return found

    async def _positions(self, consumer: GroupConsumer) -> dict[TopicPartition, tuple[int, int]]:
        assigned = list(consumer.assignment())
        ends = await consumer.end_offsets(assigned) if assigned else {}
        found = {}
        for partition in assigned:
            at = self._worker.done.get(partition)
            if at is None:
                at = await consumer.position(partition)
            found[partition] = (at, max(0, ends.get(partition, at) - at))
        return found

    def _judge(self, lag: dict[TopicPartition, tuple[int, int]], now: float) -> None:
        for partition in self._moved.keys() - lag.keys():
            del self._moved[partition]
        for partition in self._shown - lag.keys():
            self._shown.remove(partition)
            self._metrics.lag.remove(partition.topic, partition.partition)
        waited = self._behind.look(lag, now)
        for topic in self._worker.topics:
            self._metrics.lag_seconds.labels(topic).set(waited.get(topic, 0.0))
        for partition, (at, behind) in lag.items():
            self._shown.add(partition)
            self._metrics.lag.labels(partition.topic, partition.partition).set(behind)
            known = self._moved.get(partition)
            excused = behind == 0 or self._worker.waiting_for_server or partition in self._worker.braked
            if known is None or known[0] != at or excused:
                self._moved[partition] = (at, now)
            elif now - max(known[1], self._worker.settled_at(partition)) > STALL_SECONDS_MAX:
                self._log.error("stalled", topic=partition.topic, partition=partition.partition, lag=behind)
                raise StalledError(f"{partition.topic}/{partition.partition} does not move with a lag of {behind}")
