"""The program behind `countersign rebuild known-places`: an order on standard input, a JSON line on standard output."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from countersign import policy
from countersign.client import Grants
from countersign.operations import journal
from countersign.operations.log import TopicAbsentError, reading_log
from countersign.runtime.broker.kafka_refusal import words_of_kafka
from countersign.runtime.checkpoint import Checkpoint, nothing
from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.messages.findings import findings
from services.risk_evaluator.rebuild import tables
from services.risk_evaluator.rebuild.model import Order, Reach, counts_for
from services.risk_evaluator.rebuild.refold import TOPICS, Refold
from services.risk_evaluator.store_places import LIVE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from uuid import UUID

    from countersign.operations.log import Log, Offsets
    from countersign.policy import PlaceRules
    from countersign.runtime.database.postgres import Connection, Pool
    from services.risk_evaluator.rebuild.model import Comparison
    from services.risk_evaluator.wiring import RiskEvaluatorSettings

SCHEMA = "risk_evaluator"
LOCK = "SELECT pg_try_advisory_lock(hashtextextended('countersign.rebuild.known-places', 0))"
UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('countersign.rebuild.known-places', 0))"
# While learners wait nothing is asked of PostgreSQL for as long as Kafka is read.
PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '30s'"
CATCH_UP_SECONDS_MAX = 8.0
_TRIES = 3
_DAY = timedelta(days=1)


class BusyError(Exception):
    """Another rebuild is at work."""


@dataclass(slots=True)
class Rebuild:
    """One run: `read` first, then `finish`, which compares and, if ordered, swaps."""

    db: Connection
    log: Log
    order: Order
    rules: PlaceRules
    refold: Refold
    checkpoint: Checkpoint = nothing

    async def run(self) -> dict[str, Any]:
        """Return what was found and done."""
        await self.db.execute(tables.LAY)
        await self.checkpoint("laid")
        starts, ends = await self.log.starts(), await self.log.ends()
        reach = Reach(await _since(self.log), counts_for(self.rules))
        await self.refold.fold(self.db, self.log, starts, ends)
        await self.checkpoint("read")
        later = await self.log.ends()  # what came meanwhile, before anybody has to wait
        await self.refold.fold(self.db, self.log, ends, later)
        operation_id = await self._began() if self.order.execute else None
        for left in reversed(range(_TRIES)):
            try:
                return await self._finish(reach, later, operation_id)
            except (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, TimeoutError):
                if not left:
                    raise
                await asyncio.sleep(1)
        raise AssertionError("the last try returns or raises")

    async def _finish(self, reach: Reach, ends: Offsets, operation_id: UUID | None) -> dict[str, Any]:
        """Catch up while nobody learns, compare, and swap or leave all as it is."""
        async with self.db.transaction():
            await self.db.execute(PATIENT)
            await LIVE.hold_learners(self.db)
            await self.checkpoint("held")
            async with asyncio.timeout(CATCH_UP_SECONDS_MAX):
                await self.refold.fold(self.db, self.log, ends, await self.log.ends())
            found = await tables.compare(self.db, reach.since, self.rules.forget_after, self.order.examples)
            await self.checkpoint("compared")
            now: datetime = await self.db.fetchval("SELECT now()")
            refused = self._refused(reach, now)
            document = self._document(reach, now, found) | {"refused": refused, "rows_now": None}
            if operation_id is not None:
                if refused is None:
                    keep = self.order.older == "keep"
                    document["rows_now"] = await tables.swap(self.db, reach.since, keep_older=keep)
                    await self.checkpoint("swapped")
                outcome = {**found.verdicts, "refused": refused, "rows_now": document["rows_now"]}
                await journal.end(self.db, SCHEMA, operation_id, outcome)
        await self.checkpoint("committed")
        if document["rows_now"] is None:
            await self.db.execute(tables.CLEAR)
        return document

    def _refused(self, reach: Reach, now: datetime) -> str | None:
        """Return why the tables may not be swapped, unless somebody says what becomes of older rows."""
        if self.order.older is not None:
            return None
        if not reach.is_enough(now):
            return "the topics do not reach back as far as places count"
        if self.refold.without_assessment or self.refold.keys_gone:
            return "some grants cannot be judged any more"
        return None

    async def _began(self) -> UUID:
        planned = {"older": self.order.older}
        return await journal.begin(self.db, SCHEMA, "rebuild known-places", self.order.who, self.order.reason, planned)

    def _document(self, reach: Reach, now: datetime, found: Comparison) -> dict[str, Any]:
        return {
            "read_model": "known-places",
            "records": self.refold.records,
            "live": asdict(found.live),
            "rebuilt": asdict(found.rebuilt),
            "equal": found.equal,
            "verdicts": dict(found.verdicts),
            "examples": found.examples,
            "topics_reach_back_to": None if reach.since is None else reach.since.isoformat(),
            "reaches_far_enough": reach.is_enough(now),
            "places_count_for_days": reach.counts_for / _DAY,
            "grants_without_assessment": self.refold.without_assessment,
            "grants_by_keys_gone": self.refold.keys_gone,
            "records_refused": self.refold.refused + self.log.untakeable,
        }


async def rebuild_places(pool: Pool, settings: RiskEvaluatorSettings, checkpoint: Checkpoint = nothing) -> int:
    """Make known places anew, as ordered, and print what was found. Return 0, or 2 with words on standard error."""
    try:
        order = Order.model_validate_json(sys.stdin.read())
        async with _parts(pool, settings, order, checkpoint) as rebuild:
            document = await rebuild.run()
    except ValidationError as error:
        return _failed(f"the order is not right: {'; '.join(findings(error))}")
    except (TopicAbsentError, BusyError) as error:
        return _failed(str(error))
    except KafkaError:
        return _failed(await words_of_kafka(settings.kafka))
    except Exception as error:
        if kind_of(error) is not Kind.INFRASTRUCTURE:
            raise
        return _failed(f"the live table was left as it is: {type(error).__name__}: {error}")
    sys.stdout.write(json.dumps({"rebuild": document}) + "\n")
    return 0


@asynccontextmanager
async def _parts(
    pool: Pool, settings: RiskEvaluatorSettings, order: Order, checkpoint: Checkpoint
) -> AsyncIterator[Rebuild]:
    rules = policy.load(settings.policy_file).places
    async with (
        pool.acquire() as db,
        Grants(settings.jwks_url, issuer=settings.issuer, audience=settings.audience) as grants,
        reading_log(settings.kafka, TOPICS) as log,
    ):
        if not await db.fetchval(LOCK):
            raise BusyError("another rebuild of known places is at work: wait until it has ended")
        try:
            yield Rebuild(db, log, order, rules, Refold(grants, rules), checkpoint)
        finally:
            if not db.is_closed():
                await db.execute(UNLOCK)


async def _since(log: Log) -> datetime | None:
    """Return since when all decisions are there; None if none was ever deleted."""
    return max((first for first, older_deleted in await log.first_times(TOPICS[0]) if older_deleted), default=None)


def _failed(words: str) -> int:
    print(f"rebuild: {words}", file=sys.stderr)  # noqa: T201 - a command's answer
    return 2
