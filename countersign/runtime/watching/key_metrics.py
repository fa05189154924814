"""Which keys a process holds, for whoever installs or removes one: the ids and their times, never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

    from countersign.runtime.keys import KeyRing

METRIC = "countersign_key_active_from_seconds"


class KeyMetrics(Collector):
    """The rings of a process. Each scrape reads a changed secrets file first, also where no record comes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rings: list[KeyRing] = []
        registry.register(self)

    def show(self, *rings: KeyRing) -> None:
        """Show these rings from now on; each belongs to this process alone."""
        self._rings += rings

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Return the metric without its values: a registry asks for the names when a collector is registered."""
        return [_family()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return when each key of each ring becomes active, as this process has it."""
        family = _family()
        for ring in self._rings:
            ring.refresh()
            for key in ring.all():
                family.add_metric([ring.name, key.key_id], key.active_from.timestamp())
        return [family]


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        METRIC,
        "When a key that this process holds becomes active (Unix time). If instances of a ring differ for long, one of "
        "them has an old secrets file: `countersign keys list` says which.",
        labels=["ring", "key_id"],
    )
