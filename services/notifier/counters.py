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
            "Texts by what became of them; outcome `due`: certainly not sent, tried again. If others than `accepted` "
            "grow, `reason` names the cause; `countersign trace` shows one text.",
            ("outcome", "reason", "country"),
            registry=registry,
        )
        self.seconds = Histogram(
            "countersign_text_seconds",
            "Seconds from the folded challenge to the provider's acceptance. If it is high, people wait for their "
            "code: look at SNS and at countersign_lag_seconds.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.notices = Counter(
            "countersign_notices_total",
            "Notices by what they tell and what became of them; outcome `due`: certainly not sent, tried again. If "
            "they fail, look at the texts with codes first: those matter more.",
            ("kind", "outcome", "reason"),
            registry=registry,
        )
        self.late = Counter(
            "countersign_texts_settled_late_total",
            "Answers of the provider that came after the text was counted as unknown. If it grows, SNS is slow; no "
            "text is sent again.",
            registry=registry,
        )
        self.stopped = Gauge(
            "countersign_provider_stopped",
            "1 while SNS refuses all texts for a reason that is ours to mend: rights, clock or spending quota. See the "
            "log line `provider_stopped`.",
            registry=registry,
        )

    def count(self, row: asyncpg.Record) -> None:
        """Count a settled dispatch row."""
        self.texts.labels(row["state"], row["reason"] or "", row["country"] or "").inc()
        if State(row["state"]) is State.ACCEPTED:
            self.seconds.observe(row["age_seconds"])
