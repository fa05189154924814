"""A process of the service in a world, and whoever starts it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from countersign.runtime.program import service as frame

if TYPE_CHECKING:
    from tests.sim.world.loop import SimLoop
    from tests.sim.world.world import World

RESTART_SECONDS = 1.0
END_SECONDS_MAX = 32.0


class Log:
    """A log whose lines become part of the trace."""

    __slots__ = ("_bound", "_name", "_world")

    def __init__(self, world: World, name: str, bound: dict[str, Any] | None = None) -> None:
        self._world = world
        self._name = name
        self._bound = bound or {}

    def bind(self, **fields: Any) -> Log:
        return Log(self._world, self._name, {**self._bound, **fields})

    def say(self, event: str, **fields: Any) -> None:
        """Add a line."""
        self._world.note(self._name, event, {**self._bound, **fields})

    debug = info = warning = error = exception = critical = say


class Process:
    """One process of the service, and whoever starts it again."""

    def __init__(self, world: World, instance: str) -> None:
        self.world = world
        self.instance = instance
        self.loop: SimLoop | None = None
        self.machine: Any = None
        self.starts = 0
        self.stopped_at: float | None = None
        self._stop: asyncio.Event | None = None
        self.is_wanted = False

    @property
    def name(self) -> str:
        """Return the name of the process that runs now, or ran last."""
        return f"{self.instance}.{self.starts}"

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.loop is not None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.loop is not None or not self.is_wanted:
            return
        self.starts += 1
        self.loop = self.world.scheduler.loop(self.name)
        self.stopped_at = None
        self.world.note(self.name, "process_started", {})
        task = self.loop.create_task(self._main())
        task.add_done_callback(self._ended)

    async def _main(self) -> None:
        world, self._stop = self.world, asyncio.Event()
        log = Log(world, self.name)
        settings = world.settings(self.instance)
        async with frame.serving(world.service, settings, log=log, checkpoint=self._checkpoint) as machine:
            self.machine = machine
            await self._stop.wait()

    async def _checkpoint(self, name: str) -> None:
        if self.world.passed(self, name):
            await asyncio.Event().wait()  # killed here: it does not go on

    def _ended(self, task: Any) -> None:
        """Note how it ended; what it leaves open is a leak."""
        world, loop = self.world, self.loop
        if loop is None:
            return
        error = None if task.cancelled() else task.exception()
        world.note(self.name, "process_ended", {"error": repr(error)} if error else {})
        if error is not None:
            world.fall(self, _root(error))
        else:
            world.ended_well(self, loop)
        self._gone()
        world.outside.call_later(RESTART_SECONDS, self.start)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.is_wanted = False
        if self.loop is None:
            return
        self.world.note(self.name, "sigterm", {})
        self.stopped_at = self.world.scheduler.now
        self.world.outside.call_later(END_SECONDS_MAX, self._must_have_ended, self.loop)
        if self._stop is not None and self.machine is not None:
            self._stop.set()
            self.loop.call_soon(_nothing)
        else:
            self.kill()  # not started yet: its default action ends it

    def _must_have_ended(self, loop: SimLoop) -> None:
        if self.loop is loop:
            self.world.find(f"SIGTERM ends a process: one still runs after {END_SECONDS_MAX:g} s")

    def kill(self) -> None:
        """Send SIGKILL."""
        if self.loop is None:
            return
        self.world.note(self.name, "killed", {})
        self.world.kills += 1
        self._gone()

    def _gone(self) -> None:
        loop, self.loop, self.machine, self._stop = self.loop, None, None, None
        if loop is not None:
            loop.kill()
            self.world.forget(loop)
            self.world.gone()


def _nothing() -> None:
    """Wake the loop."""


def _root(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
