"""Why records do not reach Kafka: told at /readyz, in the log and in a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.publishing.acks import Ack

if TYPE_CHECKING:
    from collections.abc import Iterable

    import structlog

    from countersign.runtime.messages.record import Outgoing
    from countersign.runtime.publishing.acks import Answer
    from countersign.runtime.publishing.lane import Lane
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics

FAILURES_MIN = 2  # chosen: a single one is mended by the next try, a dead producer for example


class Troubles:
    """Says what is wrong with lanes, and with Kafka as a whole. It stays said until a record is acknowledged."""

    def __init__(
        self,
        lanes: Iterable[Lane],
        *,
        health: Health,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._lanes = lanes
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

    def failed(self, lane: Lane, answer: Answer, rows: int) -> None:
        """Say that a try of a lane failed for so many rows."""
        failures = lane.failed()
        self._metrics.publish_failures.labels(lane.topic, answer.ack.value).inc(rows)
        self._log.warning("publish_failed", topic=lane.topic, partition=lane.partition, error=answer.reason, rows=rows)
        if answer.ack is Ack.NO_RIGHTS:
            if lane.trouble is None:
                self._log.error("publish_rights_missing", topic=lane.topic, error=answer.reason)
            lane.trouble = f"Kafka does not let us write to {lane.topic}: {answer.reason}"
        elif failures >= FAILURES_MIN:
            lane.trouble = f"Kafka does not take records of {lane.topic}: {answer.reason}"
        self._tell()

    def stalled(self, lane: Lane, seconds: float) -> None:
        """Say that nothing was acknowledged for so long."""
        self._log.warning("publish_stalled", topic=lane.topic, partition=lane.partition, seconds=seconds)
        lane.trouble = f"Kafka does not take records of {lane.topic}: no acknowledgement for {seconds:g} s"
        self._tell()

    def well(self, lane: Lane) -> None:
        """Say that a try went well, or that nothing is left to try."""
        lane.well()
        self._tell()

    def parked(self, row: Outgoing, reason: str) -> None:
        """Say that a row was parked."""
        self._metrics.publish_failures.labels(row.topic, Ack.REFUSED.value).inc()
        self._log.error("outbox_row_parked", topic=row.topic, event_id=str(row.event_id), error=reason)

    def _tell(self) -> None:
        self._health.tell("kafka", self._away or next((lane.trouble for lane in self._lanes if lane.trouble), None))
