"""What the notifier counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.notifier.model import State

if TYPE_CHECKING:
    import asyncpg

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Counters:
    """Texts by what became of them. No label names a person, a number or an account."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.texts = Counter(
            "countersign_texts_total",
            "Texts by what became of them; outcome `due`: tried, certainly not sent, due again.",
            ("outcome", "reason"),
            registry=registry,
        )
        self.seconds = Histogram(
            "countersign_text_seconds",
            "Seconds from the folded challenge to the provider's acceptance.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.notices = Counter(
            "countersign_notices_total",
            "Notices by what they tell and what became of them; outcome `due`: certainly not sent, due again.",
            ("kind", "outcome", "reason"),
            registry=registry,
        )
        self.late = Counter(
            "countersign_texts_settled_late_total",
            "Answers that came after the claim was settled as unknown.",
            registry=registry,
        )
        self.stopped = Gauge(
            "countersign_provider_stopped",
            "1 while the provider refuses all texts for a reason that is ours to mend: page.",
            registry=registry,
        )

    def count(self, row: asyncpg.Record) -> None:
        """Count a settled dispatch row."""
        self.texts.labels(row["state"], row["reason"] or "").inc()
        if State(row["state"]) is State.ACCEPTED:
            self.seconds.observe(row["age_seconds"])
