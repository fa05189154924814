"""Event loops with virtual time: one for each simulated process, all driven by one scheduler from one seed.

Nothing here waits. When no callback is ready, the clock jumps to the next timer. Callbacks of one loop run in the order
that asyncio promises; which loop goes next is drawn from the seed. There are no threads and no sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
from asyncio import events
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random


class LivelockError(AssertionError):
    """The budget of callbacks is used up: something runs in circles and virtual time does not get on."""


class StuckError(BaseException):
    """One callback does not come to its end: no time-out helps there, and no `except Exception` may take it."""


class SimHandle:
    """A callback that is due, or will be. asyncio only ever asks for `cancel`, `cancelled` and `when`."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "loop", "time")

    def __init__(
        self,
        loop: SimLoop,
        time: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
    ) -> None:
        self.loop = loop
        self.time = time
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.time


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task with a stable place in sets."""

    number: int

    def __hash__(self) -> int:
        return self.number


SimFuture: TypeAlias = "asyncio.Future[Any]"


class Scheduler:
    """Runs the callbacks of several loops in virtual time."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.steps = 0
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._count = 0
        self._ready: list[SimLoop] = []
        self.loops: list[SimLoop] = []

    def loop(self, name: str) -> SimLoop:
        """Return a new loop: that of one process, or of the world around them."""
        made = SimLoop(self, name)
        self.loops.append(made)
        return made

    def number(self) -> int:
        """Return the next number, by which tasks, futures and equal times are kept in order."""
        self._count += 1
        return self._count

    def at(self, handle: SimHandle) -> None:
        """Run a callback when its time has come."""
        heappush(self._timers, (handle.time, self.number(), handle))

    def now_ready(self, loop: SimLoop) -> None:
        """Say that a loop has callbacks to run."""
        self._ready.append(loop)

    def run(self, until: float, steps_max: int, ended: Callable[[], bool] | None = None) -> None:
        """Run until that time, or until `ended` says so. Raises LivelockError after that many callbacks."""
        before = events._get_running_loop()
        try:
            self._run(until, self.steps + steps_max, ended)
        finally:
            events._set_running_loop(before)

    def _run(self, until: float, most: int, ended: Callable[[], bool] | None) -> None:
        timers = self._timers
        while True:
            self._run_ready(most)
            if ended is not None and ended():
                return
            while timers and (timers[0][2].is_cancelled or timers[0][2].loop.is_dead):
                heappop(timers)
            if not timers or timers[0][0] > until:
                self.now = max(self.now, until)
                return
            now = self.now = max(self.now, timers[0][0])
            while timers and timers[0][0] <= now:
                handle = heappop(timers)[2]
                if not (handle.is_cancelled or handle.loop.is_dead):
                    handle.loop.put(handle)

    def _run_ready(self, most: int) -> None:
        """Run until no loop has anything to do at this moment."""
        ready, draw, running = self._ready, self.rng.random, None
        while ready:
            loop = ready.pop() if len(ready) == 1 else ready.pop(int(draw() * len(ready)))
            if loop is not running:
                events._set_running_loop(loop)
                running = loop
            self.steps += loop.turn()
            while loop._ready and not ready:  # nobody else has anything to do
                self.steps += loop.turn()
                if self.steps > most:
                    break
            if loop._ready:
                ready.append(loop)
            if self.steps > most:
                raise LivelockError(f"the budget of callbacks is used up, and it is {self.now:.3f} s")


class SimLoop(asyncio.AbstractEventLoop):
    """The loop of one process. Once it is dead, nothing that its tasks wait for goes on."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.is_dead = False
        self.is_running_now = False
        self.tasks: list[SimTask] = []
        self.failures: list[dict[str, Any]] = []
        self._ready: deque[SimHandle] = deque()
        self._forget_at = 64
        self.context = contextvars.copy_context()

    def turn(self) -> int:
        """Run what is ready now, and nothing that becomes ready meanwhile. Return how many callbacks that were."""
        ready = self._ready
        count = len(ready)
        self.is_running_now = True
        for _ in range(count):
            if not ready:
                break
            handle = ready.popleft()
            if handle.is_cancelled:
                continue
            if handle.context is None:
                handle.callback(*handle.args)  # type: ignore[misc]
            else:
                handle.context.run(handle.callback, *handle.args)  # type: ignore[arg-type]
            if self.is_dead:
                ready.clear()
        self.is_running_now = False
        return count

    def put(self, handle: SimHandle) -> None:
        """Put a callback behind those that are ready."""
        if not self._ready and not self.is_running_now:
            self.scheduler.now_ready(self)
        self._ready.append(handle)

    def time(self) -> float:
        return self.scheduler.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        handle = SimHandle(self, 0.0, callback, args, context)
        if not self.is_dead:
            self.put(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        return self.call_at(self.scheduler.now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        handle = SimHandle(self, when, callback, args, context)
        if not self.is_dead:
            self.scheduler.at(handle)
        return handle

    def create_future(self) -> SimFuture:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> Any:
        task = _new_task(self, coro, name, context)
        tasks = self.tasks
        tasks.append(task)
        if len(tasks) > self._forget_at:
            self.tasks = [one for one in tasks if not one.done()]
            self._forget_at = 2 * len(self.tasks) + 64
        return task

    def kill(self) -> None:
        """End the process as kill -9 does: not even a `finally` runs while the world can still be touched."""
        self.is_dead = True
        self._ready.clear()

    def dispose(self) -> None:
        """Let go of what a dead loop holds. What its coroutines try to do on their way out finds a dead loop."""
        self.is_dead = True
        previous = events._get_running_loop()
        events._set_running_loop(self)
        try:
            for task in self.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
        finally:
            events._set_running_loop(previous)
        self.tasks = []

    def pending(self) -> list[SimTask]:
        """Return the tasks that are not done."""
        return [task for task in self.tasks if not task.done()]

    def is_running(self) -> bool:
        return not self.is_dead

    def is_closed(self) -> bool:
        return self.is_dead

    def get_debug(self) -> bool:
        return False

    def note_failure(self, context: dict[str, Any]) -> None:
        """Remember what asyncio says went wrong without anybody to hear of it."""
        if not self.is_dead:
            self.failures.append(context)

    call_exception_handler = note_failure

    def run_in_executor(self, *_: object) -> NoReturn:
        raise NotImplementedError("there are no threads in a simulation")

    async def create_connection(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("there are no sockets in a simulation")


def _new_task(
    loop: SimLoop, coro: Coroutine[Any, Any, Any], name: str | None, context: contextvars.Context | None
) -> SimTask:
    SimTask.number = loop.scheduler.number()  # asyncio hashes the task while it is made: the class lends its number
    task = SimTask(coro, loop=loop, name=name or "task", context=context)
    task.number = SimTask.number
    return task


def _close(coro: Any) -> None:
    for _ in range(20):  # a `finally` that waits for something has to be ended once more
        try:
            coro.close()
        except BaseException:  # noqa: BLE001 - whatever a dead process says, nobody hears it
            continue
        return
