"""Programs as plain processes: each in a session of its own, none outliving the process that started it."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LOG_LINES_TOLD = 12


class NotStartedError(Exception):
    """A program ended or did not become ready; the message says what its log says."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """How to start something, how to know that it is ready, and how to end it."""

    name: str
    argv: Sequence[str]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    user: str | None = None  # root starts PostgreSQL as somebody else: it refuses to run as root
    stop: signal.Signals = signal.SIGTERM
    ready_within: float = 120.0  # two cores with much else to do start six services slowly
    stop_within: float = 15.0


class Process:
    """A program that was started here. Start it from the main thread: the death signal follows the thread."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._popen: subprocess.Popen[bytes]
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            self._popen = subprocess.Popen(
                program.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **program.env},
                cwd=program.cwd,
                start_new_session=True,  # a terminal's Ctrl-C reaches only the supervisor, which ends things in order
                preexec_fn=_dies_with_parent(program.stop),  # noqa: PLW1509 - prctl has no other hook
                user=program.user,
                group=program.user,
                extra_groups=None if program.user is None else [],
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> int | None:
        """Return the exit code, negative for a signal, or None while it runs."""
        return self._popen.poll()

    async def wait_ready(self) -> None:
        """Wait until the program says it is ready. Raises NotStartedError with the end of its log."""
        try:
            async with asyncio.timeout(self.program.ready_within):
                while not await self.program.ready():
                    if self.ended is not None:
                        raise NotStartedError(f"{self.program.name} ended with {self.ended}.{self._told()}")
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise NotStartedError(
                f"{self.program.name} is not ready after {self.program.ready_within:.0f} s.{self._told()}"
            ) from None

    async def end(self) -> None:
        """End it by its own way of ending, and by force when that takes too long."""
        if self.ended is not None:
            return
        self._popen.send_signal(self.program.stop)
        try:
            async with asyncio.timeout(self.program.stop_within):
                while self.ended is None:  # noqa: ASYNC110 - a process sets no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self._popen.kill()
            await asyncio.to_thread(self._popen.wait)

    def _told(self) -> str:
        lines = self.program.log.read_text(errors="replace").splitlines()[-_LOG_LINES_TOLD:]
        return f" The end of {self.program.log}:\n" + "\n".join(f"    {line}" for line in lines)


async def started(program: Program) -> Process:
    """Start a program and wait until it is ready; end it when it does not become so."""
    process = Process(program)
    try:
        await process.wait_ready()
    except BaseException:
        await process.end()
        raise
    return process


async def answers(port: int) -> bool:
    """Whether somebody takes connections on that loopback port."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses now. They are held together, so no two are the same."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in held]
    finally:
        for one in held:
            one.close()


def _dies_with_parent(stop: signal.Signals) -> Callable[[], None] | None:
    """Return what a child does before it becomes the program: ask for a signal when its parent dies (Linux only)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, stop.value)
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return ask
