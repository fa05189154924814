"""How long the oldest text has been issued without anybody saying what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Gauge

from countersign.clock import loop_seconds

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from countersign.runtime.database.postgres import Connection

LOOK_EVERY_SECONDS = 5.0  # chosen: half of what somebody waits before they wonder where their code is

# Over the open challenges alone (a partial index): a text whose challenge is over helps nobody any more.
OLDEST = """
SELECT coalesce(extract(epoch FROM now() - min(s.issued_at)), 0)::float8
  FROM challenge c JOIN send s USING (challenge_id)
 WHERE c.closed_at IS NULL AND s.state = 'sending'
"""


class UnsettledTexts:
    """Measures it beside due work that looks anyway, every few seconds. It sees a notifier that is down, too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._looked_at: float | None = None
        self._oldest = Gauge(
            "countersign_texts_unsettled_oldest_seconds",
            "Age of the oldest text of an open challenge of which the notifier has not said what became of it; 0 if "
            "there is none. If it is over 30, people wait for codes: look at the notifier's /readyz, `countersign lag` "
            "and SNS.",
            registry=registry,
        )

    async def look(self, db: Connection) -> None:
        """Measure, unless the last look is less than 5 s ago."""
        now = loop_seconds()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._oldest.set(await db.fetchval(OLDEST))
            self._looked_at = now
