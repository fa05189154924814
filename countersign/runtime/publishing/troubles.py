"""Why records do not reach Kafka: told at /readyz, in the log and in a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.publishing.acks import Ack

if TYPE_CHECKING:
    from collections.abc import Iterable

    import structlog

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.acks import Answer
    from countersign.runtime.publishing.partition_queue import PartitionQueue
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

FAILURES_MIN = 2  # chosen: a single one is mended by the next try, a dead producer for example


class Troubles:
    """Says what is wrong with queues, and with Kafka as a whole. It stays said until a record is acknowledged."""

    def __init__(
        self,
        queues: Iterable[PartitionQueue],
        *,
        health: Health,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._queues = queues
        self._health = health
        self._metrics = metrics
        self._log = log
        self._away: str | None = None

    def no_producer(self, answer: Answer) -> None:
        """Say that no producer could be started."""
        self._log.warning("publish_failed", error=answer.reason)
        if answer.ack is Ack.NO_RIGHTS and self._away is None:
            self._log.error("publish_rights_missing", error=answer.reason)
        self._away = f"Kafka does not take records: {answer.reason}"
        self._tell()

    def producer(self) -> None:
        """Say that there is a producer."""
        self._away = None
        self._tell()

    def failed(self, queue: PartitionQueue, answer: Answer, rows: int) -> None:
        """Say that a try of a queue failed for so many rows."""
        failures = queue.failed()
        self._metrics.publish_failures.labels(queue.topic, answer.ack.value).inc(rows)
        self._log.warning(
            "publish_failed", topic=queue.topic, partition=queue.partition, error=answer.reason, rows=rows
        )
        if answer.ack is Ack.NO_RIGHTS:
            if queue.trouble is None:
                self._log.error("publish_rights_missing", topic=queue.topic, error=answer.reason)
            queue.trouble = f"Kafka does not let us write to {queue.topic}: {answer.reason}"
        elif failures >= FAILURES_MIN:
            queue.trouble = f"Kafka does not take records of {queue.topic}: {answer.reason}"
        self._tell()

    def stalled(self, queue: PartitionQueue, seconds: float) -> None:
        """Say that nothing was acknowledged for so long."""
        self._log.warning("publish_stalled", topic=queue.topic, partition=queue.partition, seconds=seconds)
        queue.trouble = f"Kafka does not take records of {queue.topic}: no acknowledgement for {seconds:g} s"
        self._tell()

    def well(self, queue: PartitionQueue) -> None:
        """Say that a try went well, or that nothing is left to try."""
        queue.well()
        self._tell()

    def parked(self, row: Outgoing, reason: str) -> None:
        """Say that a row was parked."""
        self._metrics.publish_failures.labels(row.topic, Ack.REFUSED.value).inc()
        self._log.error("outbox_row_parked", topic=row.topic, event_id=str(row.event_id), error=reason)

    def _tell(self) -> None:
        self._health.tell("kafka", self._away or next((queue.trouble for queue in self._queues if queue.trouble), None))
