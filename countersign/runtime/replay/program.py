"""What a service's own program does for `countersign replay`: it has the keys, the rules and the rights of the service.

Lines that begin with `{"replay":` say how far it is, the line `{"plan":` is the plan; what else is printed is the log.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import sys
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from countersign.runtime.checkpoint import nothing
from countersign.runtime.errors import Kind, kind_of
from countersign.runtime.messages.findings import findings
from countersign.runtime.replay import planning
from countersign.runtime.replay.plan import Asked, Part, Plan, PlanError
from countersign.runtime.replay.run import Replayer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from importlib.resources.abc import Traversable

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.database.postgres import Link
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.replay.journal import Journal
    from countersign.runtime.settings import KafkaSettings, Limit

TOLD_EVERY_SECONDS = 0.25
DONE, FAILED, NOT_DONE = 0, 2, 3  # Python itself ends with 1 after an exception


@dataclass(frozen=True, slots=True)
class Replayable:
    """What a replay needs of a service: its folds by topic with a connection of its role, and all limits it goes by."""

    name: str
    kafka: KafkaSettings
    limits: Sequence[Limit]
    folds: Callable[[], AbstractAsyncContextManager[tuple[Mapping[str, AnyFold], Link]]]


class Wanted(Part):
    """What a plan is asked for on standard input."""

    asked: Asked
    by: str


async def plan(service: Replayable, wanted: str) -> int:
    """Print the plan that was asked for; return the exit status."""
    return await _told(service.name, _plan(service, wanted))


async def run(service: Replayable, replay_id: str, checkpoint: Checkpoint = nothing) -> int:
    """Run a replay to its end, a pause or a stop; return the exit status. SIGTERM and SIGINT pause it."""
    return await _told(service.name, _run(service, UUID(replay_id), checkpoint))


async def _told(name: str, work: Awaitable[int]) -> int:
    """Return what the work returned; say in a sentence what kept it from being done."""
    try:
        return await work
    except PlanError as reason:
        sentence = str(reason)
    except Exception as error:
        if kind_of(error) is not Kind.INFRASTRUCTURE:
            raise
        sentence = f"Kafka or PostgreSQL does not answer ({type(error).__name__}: {error}): go on once they do"
    print(f"{name}: {sentence}", file=sys.stderr)  # noqa: T201
    return FAILED


async def _plan(service: Replayable, text: str) -> int:
    try:
        wanted = Wanted.model_validate_json(text)
    except ValidationError as error:
        raise PlanError(f"standard input: {'; '.join(findings(error))}") from None
    asked, told = wanted.asked, _Telling()

    def tell(read: int, of: int) -> None:
        told.line({"read": read, "of": of}, last=read == of)

    async with service.folds() as (folds, link):
        fold = folds.get(asked.topic)
        if fold is None or asked.service != service.name:
            raise PlanError(f"{service.name} does not read {asked.topic}; it reads {', '.join(sorted(folds))}")
        ranges, found, now = await planning.find(service.kafka, link, fold, asked, tell)
    code, limits = fingerprints(service)
    made = Plan(
        asked=asked,
        made_at=now,
        made_by=wanted.by,
        code=code,
        limits=limits,
        ranges=ranges,
        found=found,
    )
    _print({"plan": made.sealed().model_dump(mode="json")})
    return DONE


async def _run(service: Replayable, replay_id: UUID, checkpoint: Checkpoint) -> int:
    told = _Telling()
    async with service.folds() as (folds, link):

        def tell(journal: Journal) -> None:
            try:
                told.line(document(journal), last=journal.state != "running")
            except BrokenPipeError:  # whoever watched is gone
                replayer.pause()

        replayer = Replayer(
            replay_id,
            folds,
            link,
            service.kafka,
            fingerprints=fingerprints(service),
            tell=tell,
            checkpoint=checkpoint,
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, replayer.pause)
        journal = await replayer.run()
    return DONE if journal.state == "done" else NOT_DONE


def document(journal: Journal) -> dict[str, Any]:
    """Return how far a replay is."""
    return {
        "replay_id": str(journal.replay_id),
        "state": journal.state,
        "records": journal.records,
        "of": sum(one.records for one in journal.plan.ranges),
        "effects": dict(journal.done),
        "cause": journal.cause,
    }


def fingerprints(service: Replayable) -> tuple[str, str]:
    """Return hashes of the program (the package, and the service's own folder) and of every limit it goes by."""
    code = hashlib.sha256()
    for package in ("countersign", f"services.{service.name}"):
        for name, content in sorted(_sources(files(package), package)):
            code.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
    lines = [f"{one.name}\t{one.value}\n" for one in service.limits]
    return code.hexdigest(), hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources(entry, f"{path}/{entry.name}")
        elif entry.name.endswith((".py", ".sql")):
            yield f"{path}/{entry.name}", entry.read_bytes()


class _Telling:
    """Prints lines now and then, and the last one always."""

    def __init__(self) -> None:
        self._told_at = 0.0

    def line(self, content: dict[str, Any], *, last: bool) -> None:
        if last or monotonic() - self._told_at >= TOLD_EVERY_SECONDS:
            self._told_at = monotonic()
            _print({"replay": content})


def _print(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()
