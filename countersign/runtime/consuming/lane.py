"""Lanes: folds whose events may lie equally long are read together, and no lane waits for another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.consuming.brakes import Brakes
from countersign.runtime.consuming.consumer import Worker
from countersign.runtime.consuming.coverage import Coverage
from countersign.runtime.consuming.fetching import Fetching
from countersign.runtime.consuming.membership import Member
from countersign.runtime.consuming.watchdog import Watchdog
from countersign.runtime.folding.batch import Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.settings import ServiceSettings
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Lane:
    """Folds that share a consumer: `name` ends the names that it has at Kafka and in `/readyz`.

    The most urgent lane of a service has no name of its own. Any other is named after its delay.
    """

    name: str
    delay_ms_max: int
    folds: Sequence[AnyFold]


def lanes_of(folds: Iterable[AnyFold]) -> list[Lane]:
    """Return the lanes of these folds, the most urgent one first."""
    by_delay: dict[int, list[AnyFold]] = {}
    for fold in folds:
        by_delay.setdefault(fold.delay_ms_max, []).append(fold)
    ordered = sorted(by_delay.items())
    return [Lane(f".{delay}ms" if number else "", delay, own) for number, (delay, own) in enumerate(ordered)]


@dataclass(frozen=True, slots=True)
class Reading:
    """What reads a lane, and what watches it."""

    worker: Worker
    watchdog: Watchdog


def reading(  # noqa: PLR0913 - what a lane needs is what the frame has
    service: str,
    lane: Lane,
    settings: ServiceSettings,
    *,
    small: Link,
    bulk: Link,
    brakes: Link,
    publisher: Publisher,
    health: Health,
    metrics: Metrics,
    checkpoint: Checkpoint,
    log: structlog.typing.FilteringBoundLogger,
    tracer: Tracer,
) -> Reading:
    """Return the parts of a lane, not started yet. `small` and `bulk` are its own connections, `brakes` is shared."""
    member, kafka, health = Member.of(service, settings.instance, lane.name), settings.kafka, health.of(lane.name)
    folds = {fold.topic: fold for fold in lane.folds}
    folder = Folder(
        link=small,
        bulk=bulk,
        publisher=publisher,
        health=health,
        metrics=metrics,
        checkpoint=checkpoint,
        log=log,
        tracer=tracer,
    )
    worker = Worker(
        member,
        folds,
        open_consumer=partial(member.open_consumer, kafka, lane.delay_ms_max),
        why_refused=partial(refusal_of, kafka),
        fetching=Fetching(kafka.batch_records_max),
        folder=folder,
        brakes=Brakes(list(folds), folder, brakes, health=health, metrics=metrics, log=log),
        health=health,
        checkpoint=checkpoint,
        log=log,
    )
    coverage = Coverage(kafka, member, worker.topics)
    return Reading(worker, Watchdog(worker, coverage, health=health, metrics=metrics, log=log))
