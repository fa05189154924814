"""Keep programs alive: start them again when they die, with growing pauses, and end them in order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from deploy.local.process import NotStartedError, Process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deploy.local.process import Program

_LOOK_EVERY = 0.1
_PAUSE_FIRST = 0.2
_PAUSE_MAX = 30.0
_STEADY_AFTER = 30.0  # who lived that long starts again with the first pause


class Supervisor:
    """Programs by name. Everything happens on the main thread, which the children's death signal follows."""

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._processes: dict[str, Process] = {}
        self._watches: dict[str, asyncio.Task[None]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {name: process.pid for name, process in self._processes.items() if process.ended is None}

    async def start(self, name: str, program: Program) -> None:
        """Start a program, wait until it is ready, and watch it from then on. Raises NotStartedError."""
        self._processes[name] = Process(program)
        await self._processes[name].wait_ready()
        self._watches[name] = asyncio.ensure_future(self._watch(name, program))

    async def end(self, groups: Sequence[Sequence[str]]) -> None:
        """End group after group; within a group all at once."""
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._watches.values(), return_exceptions=True)
        for group in groups:
            await asyncio.gather(*(self._processes[name].end() for name in group if name in self._processes))

    async def _watch(self, name: str, program: Program) -> None:
        pause = _PAUSE_FIRST
        began = asyncio.get_running_loop().time()
        while True:
            while (code := self._processes[name].ended) is None:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(_LOOK_EVERY)
            if asyncio.get_running_loop().time() - began > _STEADY_AFTER:
                pause = _PAUSE_FIRST
            self._say(f"{program.name} ended ({_how(code)}); starting it again in {pause:.1f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _PAUSE_MAX)
            began = asyncio.get_running_loop().time()
            await self._restart(name, program)

    async def _restart(self, name: str, program: Program) -> None:
        self._processes[name] = Process(program)
        try:
            await self._processes[name].wait_ready()
        except NotStartedError as error:
            self._say(str(error))
            await self._processes[name].end()
            return
        self._changed()
        self._say(f"{program.name} is back (process {self._processes[name].pid})")


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"
