"""Runs a service as its own program does, under a profiler or with its statements counted; outside the package.

`python -m tests.bench.instrumented SERVICE [--profile FILE] [--statements FILE]`
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import signal
from collections import Counter
from functools import wraps
from importlib import import_module
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import asyncpg
import uvloop

from countersign.runtime.checkpoint import nothing
from countersign.runtime.program.service import serving
from countersign.runtime.watching import logs
from tests.support.crashing import die_with_parent

if TYPE_CHECKING:
    import structlog

    from countersign.runtime.checkpoint import Checkpoint
    from countersign.runtime.program.frame import Service

_CALLS = ("execute", "executemany", "fetch", "fetchval", "fetchrow")


class Statements:
    """Counts the statements of each batch, BEGIN and COMMIT included, by the task that folds it."""

    def __init__(self) -> None:
        self.batches: Counter[int] = Counter()
        self._count: Counter[asyncio.Task[Any] | None] = Counter()

    def install(self) -> None:
        """Count from now on: every call of a connection is one round trip."""
        for name in _CALLS:
            setattr(asyncpg.Connection, name, self._counted(getattr(asyncpg.Connection, name)))

    def _counted(self, call: Any) -> Any:
        @wraps(call)
        async def counting(*arguments: Any, **named: Any) -> Any:
            self._count[asyncio.current_task()] += 1
            return await call(*arguments, **named)

        return counting

    async def __call__(self, name: str) -> None:
        """Take note at the checkpoints `fetched` and `committed`."""
        task = asyncio.current_task()
        if name == "fetched":
            self._count[task] = 0
        elif name == "committed":
            self.batches[self._count[task]] += 1
            self._count[task] = 0


async def _serve(service: Service[Any], log: structlog.typing.FilteringBoundLogger, checkpoint: Checkpoint) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serving(service, service.settings(), log=log, checkpoint=checkpoint):
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM, then write what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service")
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--statements", type=Path)
    asked = parser.parse_args()
    die_with_parent()
    service: Service[Any] = import_module(f"services.{asked.service}.wiring").SERVICE
    settings = service.settings()
    log = logs.configure(service.name, settings.instance, settings.log_level)
    statements = Statements()
    if asked.statements:
        statements.install()
    profile = cProfile.Profile(process_time)  # CPU: a write that wakes others looks long by the clock
    if asked.profile:
        profile.enable()
    uvloop.run(_serve(service, log, statements if asked.statements else nothing))
    profile.disable()
    if asked.profile:
        profile.dump_stats(asked.profile)
    if asked.statements:
        asked.statements.write_text(json.dumps(statements.batches))


if __name__ == "__main__":
    main()
