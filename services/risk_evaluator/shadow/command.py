"""The program behind `countersign replay shadow`: an order on standard input, JSON lines on standard output."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaError
from pydantic import ValidationError

from countersign import policy
from countersign.contract import AccessGranted, AccessRequested, PlacesForgotten
from countersign.operations.log import TopicAbsentError, reading_log
from countersign.runtime.broker.kafka_refusal import words_of_kafka
from countersign.runtime.messages.findings import findings
from services.risk_evaluator.shadow.model import Order, Window
from services.risk_evaluator.shadow.redecide import OPEN_MAX, TOPICS, Shadow

if TYPE_CHECKING:
    from countersign.operations.log import Log
    from countersign.runtime.database.postgres import Pool
    from services.risk_evaluator.shadow.model import Tally
    from services.risk_evaluator.wiring import RiskEvaluatorSettings

_NOW = "SELECT now()"
_DAY = timedelta(days=1)


async def shadow(pool: Pool, settings: RiskEvaluatorSettings) -> int:
    """Re-decide what was ordered and print it; return 0, or 2 with a sentence on standard error.

    Of the database only the time is asked.
    """
    try:
        order = Order.model_validate_json(sys.stdin.read())
    except ValidationError as error:
        return _refused(f"the order is not right: {'; '.join(findings(error))}")
    running = policy.load(settings.policy_file)
    now: datetime = await pool.fetchval(_NOW)
    try:
        async with reading_log(settings.kafka, TOPICS) as log:
            window = await _window(log, order, now)
            tally = await _redecided(log, Shadow(order.policy, running, window, order.examples), window)
            reach = await _reach(log)
    except TopicAbsentError as error:
        return _refused(str(error))
    except (KafkaError, OSError, TimeoutError):
        return _refused(await words_of_kafka(settings.kafka))
    document = {
        **_document(tally, window),
        "policy": order.policy.stamp,
        "running_policy": running.stamp,
        "untakeable": log.untakeable,
        "log_reaches_back_to": reach,
        "places_count_for_days": order.policy.places.forget_after / _DAY,
    }
    sys.stdout.write(json.dumps({"shadow": document}) + "\n")
    return 0


async def _window(log: Log, order: Order, now: datetime) -> Window:
    """Return the window; it does not begin before the log does."""
    until = min(order.until or now, now)
    since = order.since or until - (order.last or _DAY)
    firsts = await log.first_times(AccessRequested.topic)
    deleted = [first for first, older_deleted in firsts if older_deleted]
    # Where something was deleted, the log is whole only since the latest first record.
    log_begins = max(deleted) if deleted else min((first for first, _ in firsts), default=until)
    return Window(max(since, log_begins), until, log_begins)


async def _redecided(log: Log, shadow_: Shadow, window: Window) -> Tally:
    """Go through the log. What comes before the window only teaches places."""
    starts, ends = dict(await log.starts()), dict(await log.at(window.until + OPEN_MAX))
    decisions = await log.at(window.log_begins)  # an earlier decision is of a request that was deleted
    until = await log.at(window.until)
    for partition, start in tuple(starts.items()):
        if partition.topic == AccessGranted.topic:
            starts[partition] = max(start, decisions[partition])
        elif partition.topic in {AccessRequested.topic, PlacesForgotten.topic}:
            ends[partition] = until[partition]
    async for record in log.between(starts, ends):
        shadow_.take(record)
    return shadow_.end()


async def _reach(log: Log) -> dict[str, str | None]:
    """Return since when each topic is whole; null: nothing of it was ever deleted."""
    found: dict[str, str | None] = {}
    for topic in TOPICS:
        deleted = [first for first, older_deleted in await log.first_times(topic) if older_deleted]
        found[topic] = max(deleted).isoformat() if deleted else None
    return found


def _document(tally: Tally, window: Window) -> dict[str, Any]:
    return {
        "since": window.since.isoformat(),
        "until": window.until.isoformat(),
        "days": (window.until - window.since) / _DAY,
        "changes": [
            {"action": action, "old": old, "new": new, "requests": count}
            for (action, old, new), count in sorted(tally.changes.items())
        ],
        "examples": [
            {"old": old, "new": new, **example}
            for (old, new), kept in sorted(tally.examples.items())
            for example in kept
        ],
        "recorded_policies": dict(tally.policies),
        "same_outcome_for_other_reasons": tally.reasons_alone,
        "repeated": tally.repeated,
        "disputed": tally.disputed,
        "unjudged": tally.unjudged,
        "unread": dict(tally.unread),
        "known_from_before_the_log": tally.known_from_before,
        "undetermined": tally.undetermined,
        "numbers_assumed": tally.numbers_assumed,
        "grants_without_request": tally.grants_without_request,
    }


def _refused(words: str) -> int:
    print(f"shadow: {words}", file=sys.stderr)  # noqa: T201 - a command's answer
    return 2
