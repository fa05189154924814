"""The whole stack as `make run` starts it, for tests that need every service."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local import stack_env
from deploy.local.checkout import CHECKOUT
from deploy.local.jars import fetch_jars
from deploy.local.layout import HOST, PORTS, PORTS_HELD, Layout
from deploy.local.stack import forget

if TYPE_CHECKING:
    from collections.abc import Iterator

_UP_WITHIN = 170  # seconds, on two busy cores; pytest gives a test 180


@dataclass
class RunningStack:
    """A stack of its own data folder and ports, and what it prints."""

    layout: Layout
    supervisor: subprocess.Popen[bytes]
    output: Path

    @property
    def env(self) -> dict[str, str]:
        """What stack.env says now."""
        found = stack_env.read(self.layout.stack_env)
        assert found is not None, self.printed
        return found

    @property
    def printed(self) -> str:
        """What the supervisor has printed so far."""
        return self.output.read_text()

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the name behind `PID_`."""
        return {name[4:]: int(value) for name, value in self.env.items() if name.startswith("PID_")}

    async def wait_up(self) -> None:
        """Wait until stack.env is written: then the transcript is done."""
        async with asyncio.timeout(_UP_WITHIN):
            while not self.layout.stack_env.exists():
                assert self.supervisor.poll() is None, self.printed
                await asyncio.sleep(0.1)

    def end(self) -> int:
        """End it as Ctrl-C does, and return its exit code."""
        self.supervisor.send_signal(signal.SIGINT)
        return self.supervisor.wait(timeout=60)


@contextmanager
def new_layout(*, tls: bool = False) -> Iterator[Layout]:
    """Lend out a data folder and ports that nobody uses, and forget the data at the end."""
    layout = Layout(Path(tempfile.mkdtemp(prefix="countersign-stack-")), _free_range(), tls=tls)
    try:
        yield layout
    finally:
        forget(layout)
        shutil.rmtree(layout.data)


@contextmanager
def starting_stack(layout: Layout, command: str = "run", output: Path | None = None) -> Iterator[RunningStack]:
    """Start a stack and lend it out while it starts; at the end it is ended."""
    fetch_jars()
    output = output or layout.data / "printed.txt"
    environment = {**os.environ, "DATA": str(layout.data), "PORTS": str(layout.first_port)}
    environment["TLS"] = "1" if layout.tls else ""
    environment.pop("MAKELEVEL", None)  # these tests send their signals to the supervisor itself
    with output.open("wb") as out:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", command],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = RunningStack(layout, supervisor, output)
    try:
        yield stack
    finally:
        if supervisor.poll() is None:
            stack.end()


def _free_range() -> int:
    """Return a first port whose whole range is free, apart from the range that `make run` takes."""
    for first in range(20_000 + os.getpid() % 100 * PORTS_HELD, 32_000, PORTS_HELD):
        if all(_free(first + offset) for offset in PORTS.values()):
            return first
    raise RuntimeError("no 40 ports are free below the range that systems hand out themselves")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
