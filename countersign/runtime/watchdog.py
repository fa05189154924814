"""No silent stall: lag without progress ends the process, and the supervisor starts it again.

After a broker's restart a consumer can stall without an error (aiokafka #703, #1154).
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    import structlog
    from aiokafka import AIOKafkaConsumer, TopicPartition

    from countersign.runtime.batch import Folder
    from countersign.runtime.consumer import Worker
    from countersign.runtime.health import Health
    from countersign.runtime.metrics import Metrics

LOOK_EVERY_SECONDS = 5.0
STALL_SECONDS_MAX = 60.0
ANSWER_SECONDS_MAX = 5.0


class Stalled(RuntimeError):  # noqa: N818 - what is the matter, not what went wrong
    """There is lag, every server answers, and nothing moves."""


class Watchdog:
    """Measures lag, and raises Stalled when a partition does not move for 60 s without a known reason."""

    def __init__(
        self,
        worker: Worker,
        folder: Folder,
        *,
        health: Health,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._worker = worker
        self._folder = folder
        self._health = health
        self._metrics = metrics
        self._log = log
        self._moved: dict[TopicPartition, tuple[int, float]] = {}

    async def run(self) -> None:
        """Look every 5 s. Raises Stalled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            consumer = self._worker.consumer
            if consumer is None:
                self._moved.clear()
                continue
            lag = await self._lag(consumer)
            if lag is not None:
                self._judge(lag, monotonic())

    async def _lag(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, tuple[int, int]] | None:
        """Return position and lag by partition, or None while Kafka does not answer."""
        assigned = [p for p in consumer.assignment() if p not in self._worker.braked]
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                ends = await consumer.end_offsets(assigned) if assigned else {}
                found = {}
                for partition in assigned:
                    at = self._worker.done.get(partition)
                    if at is None:
                        at = await consumer.position(partition)
                    found[partition] = (at, max(0, ends.get(partition, at) - at))
        except (KafkaError, OSError, TimeoutError) as error:
            self._health.tell("kafka.consumer", f"Kafka does not answer: {type(error).__name__}")
            self._moved.clear()
            return None
        self._health.tell("kafka.consumer", None)
        return found

    def _judge(self, lag: dict[TopicPartition, tuple[int, int]], now: float) -> None:
        for partition in [known for known in self._moved if known not in lag]:
            del self._moved[partition]
            self._metrics.lag.remove(partition.topic, partition.partition)
        for partition, (at, behind) in lag.items():
            self._metrics.lag.labels(partition.topic, partition.partition).set(behind)
            known = self._moved.get(partition)
            if known is None or known[0] != at or behind == 0 or self._folder.waiting_for_server:
                self._moved[partition] = (at, now)
            elif now - known[1] > STALL_SECONDS_MAX:
                self._log.error("stalled", topic=partition.topic, partition=partition.partition, lag=behind)
                raise Stalled(f"{partition.topic}/{partition.partition} does not move with a lag of {behind}")
