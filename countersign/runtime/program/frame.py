"""What a service is to the frame, and what the frame lends to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from countersign.runtime.database.budget import Budget
from countersign.runtime.settings import Limit, ServiceSettings
from countersign.runtime.tracing.tracer import NO_TRACER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.checkup import Finding
    from countersign.runtime.database.postgres import Pool
    from countersign.runtime.due_work.due import AnyDue
    from countersign.runtime.folding.fold import AnyFold
    from countersign.runtime.publishing.publisher import Publisher
    from countersign.runtime.tracing.tracer import Tracer
    from countersign.runtime.watching.health import Health
    from countersign.runtime.watching.metrics import Metrics
    from countersign.runtime.web.http import Site

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True, slots=True)
class Frame(Generic[S]):
    """What the frame lends to a service's wiring."""

    settings: S
    pool: Pool
    publisher: Publisher
    health: Health
    metrics: Metrics
    log: structlog.typing.FilteringBoundLogger
    checkpoint: Checkpoint
    tracer: Tracer = NO_TRACER


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service is made of: folds, due work, sites, and anything else that runs until the end.

    Somebody waits for `dues`: each has connections of its own. `small_dues` may wait for each other: they share one.
    """

    folds: Sequence[AnyFold] = ()
    dues: Sequence[AnyDue] = ()
    sites: Sequence[Site] = ()
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    small_dues: Sequence[AnyDue] = ()


@dataclass(frozen=True, slots=True)
class Command(Generic[S]):
    """A command that one service has beside those of all: done under its role, and then over.

    `run` prints what it found or did, and returns the exit status. `example_input` is, for its help, what puts the
    order on its standard input.
    """

    name: str
    words: str
    run: Callable[[Pool, S], Awaitable[int]]
    example_input: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Something outside of the process that a service needs, and that `check` asks: `look` never raises on purpose."""

    subject: str
    look: Callable[[], Awaitable[Sequence[Finding]]]


def no_checks(_settings: ServiceSettings) -> Sequence[Check]:
    """Return nothing: a service that needs no more than its settings and PostgreSQL."""
    return ()


_AS_SHIPPED = Budget()


@dataclass(frozen=True, slots=True)
class Service(Generic[S]):
    """A service: its name is its schema, its role and its folder.

    `wire` is an async context manager, so that a service can close what it opened. `seed` takes the demonstration's
    people and lists and changes nothing the second time. `checks` are what its `check` asks beside PostgreSQL.
    `budget` says how many connections to PostgreSQL one process may hold.
    """

    name: str
    settings: type[S]
    wire: Callable[[Frame[S]], AbstractAsyncContextManager[Parts]]
    limits: Callable[[S], Sequence[Limit]]
    seed: Callable[[Pool, S, Mapping[str, Any]], Awaitable[None]] | None = None
    commands: Sequence[Command[S]] = ()
    checks: Callable[[S], Sequence[Check]] = no_checks
    budget: Budget = _AS_SHIPPED
