"""Fields that decide nothing are repaired instead of refused, and every repair is reported.

What is repaired, and how, is the contract's. This module only carries the reports: to the metric, to the log, and to
`countersign check-message`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import structlog
    from prometheus_client import Counter
    from pydantic import ValidationInfo

    from countersign.runtime.messages.record import Incoming
    from countersign.runtime.messages.sources import Sources

LOGGED_EVERY_SECONDS = 600.0  # ours: one line per kind and source; the metric counts them all


@dataclass(frozen=True, slots=True)
class Repair:
    """A field that was repaired. `words` say what was done and quote nothing of what came."""

    field: str
    words: str


def report_repair(info: ValidationInfo, field: str, words: str) -> None:
    """Report a repair to whoever reads the record: the validation's context is their list. Others do not ask."""
    if isinstance(info.context, list):
        info.context.append(Repair(field, words))


class RepairReports:
    """Counts the repairs of a process's records by field and source, and logs each kind now and then."""

    def __init__(
        self,
        counter: Counter,
        sources: Sources,
        log: structlog.typing.FilteringBoundLogger,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counter = counter
        self._log = log
        self._monotonic = monotonic
        self._sources = sources
        self._logged: dict[tuple[str, str, str], float] = {}

    def report(self, incoming: Incoming[Any]) -> None:
        """Report the repairs of one record."""
        if not incoming.repairs:
            return
        record = incoming.record
        source = self._sources.name(record.header("ce_source"))
        for repair in incoming.repairs:
            self._counter.labels(record.topic, repair.field, source).inc()
            if self._is_due((record.topic, repair.field, source)):
                self._log.warning(
                    "message_repaired",
                    topic=record.topic,
                    partition=record.partition,
                    offset=record.offset,
                    field=repair.field,
                    source=source,
                    words=repair.words,
                )

    def _is_due(self, kind: tuple[str, str, str]) -> bool:
        now, logged = self._monotonic(), self._logged.get(kind)
        if logged is not None and now - logged < LOGGED_EVERY_SECONDS:
            return False
        self._logged[kind] = now
        return True
