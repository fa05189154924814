"""A bug in the risk-evaluator that shows with the records of some accounts only, put in by a test's own wiring."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import structlog
from aiokafka.partitioner import murmur2
from prometheus_client import generate_latest

from countersign.contract import AccessRequested
from countersign.runtime.program.frame import Parts
from services.risk_evaluator.wiring import SERVICE, RiskEvaluatorSettings
from tests.support.frame import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.program.frame import Frame
    from countersign.runtime.program.machine import Machine

PARTITIONS = 12


class PoisonError(ArithmeticError):
    """What the bug raises."""


class Poisoned:
    """A fold whose decide fails for these accounts; all else is the fold's own."""

    def __init__(self, fold: AnyFold, accounts: set[UUID]) -> None:
        self._fold = fold
        self._accounts = accounts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fold, name)

    def decide(self, incoming: Any, state: Any, now: Any) -> Any:
        if incoming.event.account_id in self._accounts:
            raise PoisonError(str(incoming.event.user_id))
        return self._fold.decide(incoming, state, now)


@dataclass
class Sick:
    """Risk-evaluators in this process that share a bug. `logged` is what all of them logged."""

    settings: Mapping[str, Any]
    accounts: set[UUID] = field(default_factory=set)
    logged: structlog.testing.LogCapture = field(default_factory=structlog.testing.LogCapture)

    @asynccontextmanager
    async def member(self, instance: str = "0") -> AsyncIterator[Machine]:
        """Run one of them."""

        @asynccontextmanager
        async def wire(frame: Frame[RiskEvaluatorSettings]) -> AsyncIterator[Parts]:
            async with SERVICE.wire(frame) as parts:
                folds = [
                    Poisoned(fold, self.accounts) if fold.topic == AccessRequested.topic else fold
                    for fold in parts.folds
                ]
                yield Parts(folds, parts.dues, parts.sites, parts.background, parts.small_dues)

        settings = RiskEvaluatorSettings(**self.settings, instance=instance)
        log = structlog.wrap_logger(None, processors=[self.logged])
        async with running(replace(SERVICE, wire=wire), settings, log=log) as machine:
            yield machine

    def said(self, event: str) -> list[Mapping[str, Any]]:
        """Return the log entries of that name."""
        return [entry for entry in self.logged.entries if entry["event"] == event]


def braked(machine: Machine) -> dict[int, float]:
    """Return the metric of the brake by partition of access.requests, as it is scraped."""
    found = {}
    for line in generate_latest(machine.metrics.registry).decode().splitlines():
        if line.startswith("countersign_braked{") and AccessRequested.topic in line:
            found[int(line.split('partition="')[1].split('"')[0])] = float(line.rpartition(" ")[2])
    return found


def partition_of(account_id: UUID) -> int:
    """Return where an account's records lie."""
    return int((murmur2(str(account_id).encode()) & 0x7FFFFFFF) % PARTITIONS)


def an_account_on(partition: int) -> UUID:
    """Draw an account whose records lie there."""
    while partition_of(account_id := uuid4()) != partition:
        pass
    return account_id
