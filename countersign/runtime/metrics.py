"""What a process counts, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from countersign.runtime.key_metrics import KeyMetrics
from countersign.runtime.sources import Sources

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The runtime's counters; a service adds its own to `registry`."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.sources = Sources()
        self.keys = KeyMetrics(registry)
        self.records = Counter(
            "countersign_records_total",
            "Records by what became of them: folded, skipped, aged, dead.",
            ("topic", "outcome"),
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "countersign_batch_seconds",
            "Seconds from the fetched batch to its commit.",
            ("topic",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.dead_letters = Counter(
            "countersign_dead_letters_total",
            "Records kept as dead letters, by kind and by who wrote them.",
            ("topic", "kind", "source"),
            registry=registry,
        )
        self.repaired = Counter(
            "countersign_repaired_total", "Fields repaired.", ("topic", "field", "source"), registry=registry
        )
        self.braked = Gauge(
            "countersign_braked", "1 for a partition that the brake holds.", ("topic", "partition"), registry=registry
        )
        self.lag = Gauge(
            "countersign_lag_records", "Records not yet folded.", ("topic", "partition"), registry=registry
        )
        self.lag_seconds = Gauge(
            "countersign_lag_seconds",
            "Age of the last folded record while there is lag.",
            ("topic",),
            registry=registry,
        )
        self.published = Counter(
            "countersign_published_total", "Outbox rows that the brokers hold.", ("topic",), registry=registry
        )
        self.outbox = Gauge("countersign_outbox_rows", "Outbox rows, waiting or parked.", ("state",), registry=registry)
        self.due_settled = Counter(
            "countersign_due_settled_total", "Due items that came to an end.", ("due",), registry=registry
        )
        self.bugs = Counter("countersign_bugs_total", "Failures that no server caused.", ("where",), registry=registry)
        self._count_http(registry)

    def _count_http(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("countersign_connections", "Open connections.", ("site",), registry=registry)
        self.connections_ended = Counter(
            "countersign_connections_ended_total",
            "Connections that we ended, by cause: refused, replaced, unused, headers, idle, stalled, unreadable.",
            ("site", "cause"),
            registry=registry,
        )
        self.http_answers = Counter(
            "countersign_http_answers_total",
            "Answers by route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
