"""What a process counts, in a registry of its own. Each help text says what it is, and what to do about it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from countersign.runtime.messages.sources import Sources
from countersign.runtime.watching.key_metrics import KeyMetrics

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The runtime's counters; a service adds its own to `registry`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.sources = Sources()
        ProcessCollector(registry=registry)
        self.ready = Gauge(
            "countersign_ready",
            "1 while /readyz says ready, else 0. If it stays 0, read the reasons at /readyz.",
            registry=registry,
        )
        self.keys = KeyMetrics(registry)
        self._count_records(registry)
        self._measure_lag(registry)
        self._count_outbox(registry)
        self._count_http(registry)
        self._count_spans(registry)

    def _count_records(self, registry: CollectorRegistry) -> None:
        self.records = Counter(
            "countersign_records_total",
            "Records read, by what became of them: folded, skipped, aged, dead. If `dead` grows, see the dead letters "
            "with `countersign dlq groups`.",
            ("topic", "outcome"),
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "countersign_batch_seconds",
            "Seconds from a fetched batch to its commit. If it is high, PostgreSQL is slow: see its load and locks.",
            ("topic",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.dead_letters = Counter(
            "countersign_dead_letters_total",
            "Records kept as dead letters, by kind and by who wrote them. If it grows, `countersign dlq groups` shows "
            "the causes: tell the producer, or mend our bug.",
            ("topic", "kind", "source"),
            registry=registry,
        )
        self.repaired = Counter(
            "countersign_repaired_total",
            "Fields that decide nothing and were repaired. If it grows, tell the producer named by `source`; "
            "`countersign check-message` shows what is odd.",
            ("topic", "field", "source"),
            registry=registry,
        )
        self.bugs = Counter(
            "countersign_bugs_total",
            "Failures that no server caused: bugs of ours. If it grows, look for `record_failed` and `due_act_failed` "
            "in the log and report the trace.",
            ("where",),
            registry=registry,
        )

    def _measure_lag(self, registry: CollectorRegistry) -> None:
        self.braked = Gauge(
            "countersign_braked",
            "1 for a partition that the brake holds: its records wait. Mend the bug, then `countersign dlq release`.",
            ("topic", "partition"),
            registry=registry,
        )
        self.lag = Gauge(
            "countersign_lag_records",
            "Records of a partition that are not folded yet. If it grows, compare with countersign_lag_seconds: "
            "seconds are what people feel.",
            ("topic", "partition"),
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "countersign_lag_seconds",
            "Seconds since this process first saw the oldest record that it has not folded; 0 without lag. A code "
            "lives 300 s: if it stays high, see `countersign lag` and /readyz.",
            ("topic",),
            registry=registry,
        )

    def _count_outbox(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "countersign_published_total",
            "Records published from the outbox and acknowledged. If it stands still while the outbox grows, look for "
            "`publish_failed` in the log.",
            ("topic",),
            registry=registry,
        )
        self.publish_failures = Counter(
            "countersign_publish_failures_total",
            "Tries to publish an outbox row that failed: again (tried again), no_rights (waits until we may write), "
            "refused (parked). If it grows, see `publish_failed` in the log and /readyz.",
            ("topic", "kind"),
            registry=registry,
        )
        self.outbox = Gauge(
            "countersign_outbox_rows",
            "Outbox rows, waiting or parked. Parked rows were refused by the broker for good: somebody must look at "
            "`countersign outbox ls`.",
            ("state",),
            registry=registry,
        )
        self.outbox_oldest = Gauge(
            "countersign_outbox_oldest_seconds",
            "Age of the oldest outbox row that waits for the broker; 0 if none waits. If it is high, Kafka is away or "
            "takes no records from us: see /readyz.",
            registry=registry,
        )
        self.due_settled = Counter(
            "countersign_due_settled_total",
            "Due work that came to its end, by kind. If one kind stands still, look for `due_take_failed` in the log.",
            ("due",),
            registry=registry,
        )

    def _count_http(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge(
            "countersign_connections",
            "Open connections of a site. If it is at the limit of `make limits`, somebody holds connections open.",
            ("site",),
            registry=registry,
        )
        self.connections_ended = Counter(
            "countersign_connections_ended_total",
            "Connections that we ended, by cause: refused, replaced, unused, headers, idle, stalled, unreadable. If "
            "`refused` grows, block the address at the proxy or firewall.",
            ("site", "cause"),
            registry=registry,
        )
        self.http_answers = Counter(
            "countersign_http_answers_total",
            "Answers by route and status. If 500 grows, report `http_bug` of the log; if 503 grows, see /readyz.",
            ("method", "route", "status"),
            registry=registry,
        )

    def _count_spans(self, registry: CollectorRegistry) -> None:
        self.spans_exported = Counter(
            "countersign_spans_exported_total",
            "Spans that the collector took; 0 without COUNTERSIGN_TRACES__ENDPOINT. If it stands still under traffic, "
            "look for `spans_lost` in the log.",
            registry=registry,
        )
        self.spans_dropped = Counter(
            "countersign_spans_dropped_total",
            "Spans that were given up, by cause; no request waits for any. queue_full: the collector is too slow, or "
            "raise COUNTERSIGN_TRACES__QUEUE_SPANS_MAX; not_taken: see why in `spans_lost` of the log; stopped: the "
            "service ended first.",
            ("cause",),
            registry=registry,
        )
        for cause in ("queue_full", "not_taken", "stopped"):  # so that the first loss is an increase
            self.spans_dropped.labels(cause)
