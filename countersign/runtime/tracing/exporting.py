"""Spans leave by a thread of their own, through a queue that is never waited for."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from countersign.runtime.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import structlog

    from countersign.runtime.tracing.spans import Span
    from countersign.runtime.watching.metrics import Metrics

BATCH_SPANS_MAX = 512  # OpenTelemetry's own default, OTEL_BSP_MAX_EXPORT_BATCH_SIZE
EXPORT_EVERY_SECONDS = 1.0
EXPORT_SECONDS_MAX = 5.0
STOP_SECONDS_MAX = 2.0
LOG_EVERY_SECONDS = 600.0


class NotTakenError(Exception):
    """The collector did not take spans; the text says why, for people. `lost` is how many, None: all."""

    def __init__(self, why: str, lost: int | None = None) -> None:
        super().__init__(why)
        self.lost = lost


class SpanExport:
    """Hands spans to `send`, which may wait and raises NotTakenError. What is not taken is counted and given up."""

    def __init__(
        self,
        send: Callable[[Sequence[Span]], None],
        *,
        queue_spans_max: int,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._send = send
        self._queue_spans_max = queue_spans_max
        self._metrics = metrics
        self._log = log
        self._waiting: deque[Span] = deque()
        self._in_hand = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._lost, self._why = 0, ""
        self._logged_at: float | None = None
        self._backoff = Backoff()
        # A daemon: the end of the process does not wait for a collector that hangs.
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    def start(self) -> None:
        """Begin to export."""
        self._thread.start()

    def add(self, span: Span) -> None:
        """Queue a span, or count it as dropped if the queue is full. Never waits."""
        if len(self._waiting) >= self._queue_spans_max:
            self._drop("queue_full", 1, "the queue was full: the collector is slower than this service")
            return
        self._waiting.append(span)
        if len(self._waiting) >= BATCH_SPANS_MAX:
            self._wake.set()

    async def stop(self) -> None:
        """Export what is queued, for at most STOP_SECONDS_MAX; the rest is dropped."""
        self._stop.set()
        self._wake.set()
        await asyncio.to_thread(self._thread.join, STOP_SECONDS_MAX)
        if left := len(self._waiting) + self._in_hand:
            self._drop("stopped", left, "the collector did not take them before the service ended")
        self._tell()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(EXPORT_EVERY_SECONDS)
            self._wake.clear()
            went_well = self._export()
            self._tell()
            if not went_well:
                self._stop.wait(self._backoff.next())
        self._export()

    def _export(self) -> bool:
        """Export what is queued, batch by batch, until one is not taken; return whether all were."""
        while batch := [self._waiting.popleft() for _ in range(min(BATCH_SPANS_MAX, len(self._waiting)))]:
            self._in_hand = len(batch)
            why, lost = self._sent(batch)
            self._in_hand = 0
            self._metrics.spans_exported.inc(len(batch) - lost)
            if lost:
                self._drop("not_taken", lost, why)
            if lost == len(batch):
                return False
            self._backoff.reset()
        return True

    def _sent(self, batch: Sequence[Span]) -> tuple[str, int]:
        """Return why spans were lost, and how many."""
        try:
            self._send(batch)
        except NotTakenError as error:
            return str(error), len(batch) if error.lost is None else error.lost
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever a collector makes of a library
            return f"a bug of ours or of the library: {type(error).__name__}", len(batch)
        return "", 0

    def _drop(self, cause: str, count: int, why: str) -> None:
        self._metrics.spans_dropped.labels(cause).inc(count)
        self._lost += count
        self._why = why

    def _tell(self) -> None:
        """Log what was lost since the last line, and why it was lost last, at most once in ten minutes."""
        now = monotonic()
        if not self._lost or (self._logged_at is not None and now - self._logged_at < LOG_EVERY_SECONDS):
            return
        self._logged_at = now
        lost, self._lost = self._lost, 0
        self._log.warning(
            "spans_lost",
            spans=lost,
            why=self._why,
            words="no request waits for spans; `check` of the service looks at the collector",
        )
