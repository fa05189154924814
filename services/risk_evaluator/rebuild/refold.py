"""The topics folded into fresh tables by the service's own folds. Grants are verified as the service verifies them.

What a grant was for is what the service itself assessed: that is kept for 40 days, longer than any topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from countersign.contract import AccessGranted, PlacesForgotten
from countersign.runtime.errors import OffContractError
from countersign.runtime.folding.fold import absorb, rounds
from services.risk_evaluator.places import ForgetPlaces, LearnPlaces
from services.risk_evaluator.rebuild.tables import FRESH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.client import Grants
    from countersign.operations.log import Log, Offsets
    from countersign.policy import PlaceRules
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.folding.fold import AnyFold, Folded
    from countersign.runtime.messages.record import Incoming

TOPICS = (AccessGranted.topic, PlacesForgotten.topic)
_BATCH = 500
WITHOUT_ASSESSMENT = """
SELECT count(*) FROM unnest($1::uuid[]) AS r (request_id)
 WHERE NOT EXISTS (SELECT FROM assessment a WHERE a.request_id = r.request_id)
"""


@dataclass(slots=True)
class Refold:
    """Folds records into the fresh tables, in batches, and counts what they cannot tell.

    `without_assessment`: grants of requests that the service no longer knows. `keys_gone`: grants by keys that the
    verifier publishes no more. `refused`: records that the service would refuse too.
    """

    grants: Grants
    rules: PlaceRules
    records: int = 0
    without_assessment: int = 0
    keys_gone: int = 0
    refused: int = 0
    folds: dict[str, AnyFold] = field(init=False)

    def __post_init__(self) -> None:
        """Make the service's folds, over the fresh tables."""
        self.folds = {
            AccessGranted.topic: LearnPlaces(self.grants, self.rules, FRESH),
            PlacesForgotten.topic: ForgetPlaces(FRESH),
        }

    async def fold(self, db: Connection, log: Log, starts: Offsets, ends: Offsets) -> None:
        """Fold what lies between. Raises what Kafka, PostgreSQL and the verifier's keys raise, and a bug of ours."""
        waiting: dict[str, list[Incoming[Any]]] = {topic: [] for topic in TOPICS}
        async for record in log.between(starts, ends):
            self.records += 1
            try:
                incoming = self.folds[record.topic].parse(record)
            except OffContractError:
                self.refused += 1
                continue
            if incoming is None:
                continue
            batch = waiting[record.topic]
            batch.append(incoming)
            if len(batch) == _BATCH:
                await self._absorb(db, record.topic, batch)
                batch.clear()
        for topic, batch in waiting.items():
            await self._absorb(db, topic, batch)

    async def _absorb(self, db: Connection, topic: str, batch: Sequence[Incoming[Any]]) -> None:
        fold = self.folds[topic]
        if topic == AccessGranted.topic and batch:
            await self.grants.prepare(incoming.event.grant for incoming in batch)
            ids = [incoming.event.request_id for incoming in batch]
            self.without_assessment += await db.fetchval(WITHOUT_ASSESSMENT, ids)

        async def note(_db: Connection, folded: Folded[Any]) -> None:
            for letter in folded.dead:
                self.keys_gone += letter.kind == "key_unknown"
                self.refused += letter.kind != "key_unknown"

        for part in rounds(fold, batch):
            folded = await absorb(db, fold, part, also=note)
            if folded.suspects:
                raise folded.suspects[0][1]
