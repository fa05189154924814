"""Runs one service as its own program does, with a trap at a checkpoint: `python -m tests.support.crashing SERVICE`.

The shipped programs have no such switch; this one is outside the package. Nothing outlives the test: the kernel kills
the program with its parent, also while it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import uvloop

from countersign.runtime.program.service import serving
from countersign.runtime.watching import logs
from tests.support import clocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import structlog

    from countersign.runtime.program.frame import Service

_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass
class Trap:
    """Sends the process a signal when it passes a named point for the n-th time, and never again."""

    point: str | None
    nth: int
    number: signal.Signals
    passed: int = 0

    async def __call__(self, name: str) -> None:
        """Pass a point, or not."""
        if name != self.point:
            return
        self.passed += 1
        if self.passed == self.nth:
            os.kill(os.getpid(), self.number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM, or until the trap."""
    parser = argparse.ArgumentParser()
    parser.add_argument("service")
    parser.add_argument("--at", default=None)
    parser.add_argument("--nth", type=int, default=1)
    parser.add_argument("--signal", default="SIGKILL")
    parser.add_argument("--clock", type=float, default=0.0, help="seconds by which the program's clock is wrong")
    asked = parser.parse_args(arguments)
    die_with_parent()
    if asked.clock:
        clocks.shift(asked.clock)
    service: Service[Any] = import_module(f"services.{asked.service}.wiring").SERVICE
    settings = service.settings()
    log = logs.configure(service.name, settings.instance, settings.log_level)
    trap = Trap(asked.at, asked.nth, signal.Signals[asked.signal])
    uvloop.run(_serve(service, settings, trap, log))


async def _serve(service: Service[Any], settings: Any, trap: Trap, log: structlog.typing.FilteringBoundLogger) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _tell_tasks)
    async with serving(service, settings, log=log, checkpoint=trap):
        await stop.wait()


def _tell_tasks() -> None:
    """Write down where every task stands: for whoever looks into a process that does not move."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=6, file=sys.stderr)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends, however that ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL.value)
    if parent == 1 or os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
