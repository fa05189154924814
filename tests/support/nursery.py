"""Processes of one service that come to life at once: `python -m tests.support.nursery SERVICE` imports it and forks.

A thousand deaths would else be a thousand times a second of imports. What runs in a child is what its own program runs.
Lines in: `{"start": {"COUNTERSIGN_INSTANCE": "0", ...}}` answers the process id, `{"kill": id}` how it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvloop

from countersign.runtime.program.service import serving
from countersign.runtime.watching import logs
from deploy.local.checkout import CHECKOUT
from tests.support.crashing import die_with_parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import structlog

    from countersign.runtime.program.frame import Service


def main(name: str) -> None:
    """Start and kill as told until the input ends; then everybody is killed."""
    die_with_parent()
    service: Service[Any] = import_module(f"services.{name}.wiring").SERVICE
    alive: set[int] = set()
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # children log to where errors go
    for line in sys.stdin:
        match json.loads(line):
            case {"start": environment}:
                pid = os.fork()
                if not pid:
                    die_with_parent()
                    _serve(service, environment)
                alive.add(pid)
                say.write(f"{pid}\n")
            case {"kill": pid}:
                say.write(f"{_kill(pid)}\n")
                alive.discard(pid)
    for pid in alive:
        _kill(pid)


def _kill(pid: int) -> int:
    """Return 9, or how it had ended before."""
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _serve(service: Service[Any], environment: Mapping[str, str]) -> None:
    os.environ.update(environment)
    settings = service.settings()
    log = logs.configure(service.name, settings.instance, settings.log_level)
    try:
        uvloop.run(_until_killed(service, settings, log))
    finally:
        os._exit(1)


async def _until_killed(service: Service[Any], settings: Any, log: structlog.typing.FilteringBoundLogger) -> None:
    async with serving(service, settings, log=log):
        await asyncio.Event().wait()


@dataclass
class Nursery:
    """Starts and kills from the test's side."""

    process: asyncio.subprocess.Process
    settings: Mapping[str, str]
    _lock: asyncio.Lock

    async def start(self, **settings: str) -> int:
        """Return the process id of a new process with these settings beside the common ones."""
        named = {f"COUNTERSIGN_{name}": value for name, value in {**self.settings, **settings}.items()}
        return await self._ask({"start": named})

    async def kill(self, pid: int) -> int:
        """Kill with -9 and return the exit status, negative for a signal: -9 unless it had ended before."""
        return await self._ask({"kill": pid})

    async def _ask(self, question: Mapping[str, object]) -> int:
        async with self._lock:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            return int(await self.process.stdout.readline())


@asynccontextmanager
async def a_nursery(service: str, log: Path, **settings: str) -> AsyncIterator[Nursery]:
    """Open one; at the end nobody of it is left."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.nursery",
            service,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=out,
            cwd=CHECKOUT,
        )
        try:
            yield Nursery(process, settings, asyncio.Lock())
        finally:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()


if __name__ == "__main__":
    main(sys.argv[1])
