"""Event loops with virtual time: one for each simulated process, all driven by one scheduler from one seed.

Nothing here waits. When no callback is ready, the clock jumps to the next timer. Callbacks of one loop run in the order
that asyncio promises; which loop goes next is drawn from the seed. There are no threads and no sockets.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from asyncio import events
from collections import deque
from functools import partial
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tests.sim.world.handles import NEW, SimHandle, SimTimer, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random


class LivelockError(AssertionError):
    """The budget of callbacks is used up: something runs in circles and virtual time does not get on."""


class StuckError(BaseException):
    """One callback does not come to its end: no time-out helps there, and no `except Exception` may take it."""


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task with a stable place in sets."""

    number: int

    def __hash__(self) -> int:
        return self.number


SimFuture: TypeAlias = "asyncio.Future[Any]"


class Scheduler:
    """Runs the callbacks of several loops in virtual time.

    `number` returns the next number, by which tasks are kept in order. `due` has the timers of each time in the order
    in which they were set; its times are also in a heap, `times`: with tuples it takes more than twice as long.
    `awake` are the loops that have callbacks to run at this moment.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.steps = 0
        self.number: Callable[[], int] = itertools.count(1).__next__
        self.due: dict[float, list[SimTimer]] = {}
        self.times: list[float] = []
        self.awake: list[SimLoop] = []
        self.loops: list[SimLoop] = []
        self.wire = Wire(self)
        self._is_over = False
        self._running: SimLoop | None = None

    def loop(self, name: str) -> SimLoop:
        """Return a new loop: that of one process, or of the world around them."""
        made = SimLoop(self, name)
        self.loops.append(made)
        return made

    def put(self, timer: SimTimer) -> None:
        """Let a timer run at its time."""
        self.number()  # so that tasks are numbered by what came before them, and a seed gives what it always gave
        when, due = timer.time, self.due
        if when in due:
            due[when].append(timer)
        else:
            due[when] = [timer]
            heappush(self.times, when)

    def stop(self) -> None:
        """End `run` as soon as nothing is left to do at this moment."""
        self._is_over = True

    def run(self, until: float, steps_max: int) -> None:
        """Run until that time, or until `stop`. Raises LivelockError after that many callbacks."""
        before = events._get_running_loop()
        self._is_over = False
        self._running = None
        try:
            self._run(until, self.steps + steps_max)
        finally:
            events._set_running_loop(before)

    def _run(self, until: float, most: int) -> None:
        due, times, awake, wire = self.due, self.times, self.awake, self.wire
        while True:
            if awake:
                self._run_ready(most)
            if self._is_over:
                return
            when = self._next_time()
            if when > until:
                self.now = max(self.now, until)
                return
            now = self.now = max(self.now, when)
            while times and times[0] <= now:
                for timer in due.pop(heappop(times)):
                    call, loop = timer.call, timer.loop
                    if call is None or loop.is_dead:
                        continue
                    if loop is wire:
                        call[0](*call[1:])
                    else:
                        ready = loop.ready
                        if not ready:
                            awake.append(loop)
                        ready.append((timer.context, call, timer))

    def _next_time(self) -> float:
        """Return when a timer is due next: none that was cancelled, and none of a dead loop. Infinity: never."""
        due, times = self.due, self.times
        while times:
            for timer in due[times[0]]:
                if timer.call is not None and not timer.loop.is_dead:
                    return times[0]
            del due[heappop(times)]
        return inf

    def _run_ready(self, most: int) -> None:
        """Run until no loop has anything to do at this moment.

        A turn of a loop is what is ready when it begins, and nothing that becomes ready meanwhile. It is followed by
        another one if nobody else has anything to do.
        """
        awake, draw, running, steps = self.awake, self.rng.random, self._running, self.steps
        while awake:
            loop = awake.pop() if len(awake) == 1 else awake.pop(int(draw() * len(awake)))
            if loop is not running:
                events._set_running_loop(loop)
                running = self._running = loop
            ready, is_first = loop.ready, True
            loop.is_running_now = True
            while True:
                count = len(ready)
                steps += count
                while count and ready:  # none is left once the process is killed
                    count -= 1
                    context, call, handle = ready.popleft()
                    if handle is None or handle.call is not None:
                        context.run(*call)
                if awake or not ready or (steps > most and not is_first):
                    break
                is_first = False
            loop.is_running_now = False
            if ready:
                awake.append(loop)
            self.steps = steps
            if steps > most:
                raise LivelockError(f"the budget of callbacks is used up, and it is {self.now:.3f} s")


class SimLoop(asyncio.AbstractEventLoop):
    """The loop of one process. Once it is dead, nothing that its tasks wait for goes on.

    Each callback is kept in one tuple with its arguments, and what is done for each is written out where it is done:
    a schedule has more than a thousand of them.
    """

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.is_dead = False
        self.is_running_now = False
        self.tasks: list[SimTask] = []
        self.failures: list[dict[str, Any]] = []
        self.ready: deque[tuple[contextvars.Context, tuple[Any, ...], SimHandle | None]] = deque()
        self._forget_at = 64
        self._awake = scheduler.awake
        self._context = contextvars.copy_context()
        self.create_future = partial(asyncio.Future, loop=self)  # type: ignore[method-assign] # called most

    def time(self) -> float:
        return self.scheduler.now

    def call_soon(self, *call: Any, context: contextvars.Context | None = None) -> Any:
        """Return a handle, but for asyncio's own futures and tasks: they give a context, and take nothing back."""
        handle = None
        if context is None:
            handle = NEW(SimHandle)
            handle.call = call
            context = self._context
        if not self.is_dead:
            ready = self.ready
            if not ready and not self.is_running_now:
                self._awake.append(self)
            ready.append((context, call, handle))
        return handle

    def call_later(self, delay: float, *call: Any, context: contextvars.Context | None = None) -> Any:
        scheduler = self.scheduler
        timer = NEW(SimTimer)
        timer.call, timer.loop = call, self
        timer.context = self._context if context is None else context
        timer.time = scheduler.now + delay
        if not self.is_dead:
            scheduler.put(timer)
        return timer

    def call_at(self, when: float, *call: Any, context: contextvars.Context | None = None) -> Any:
        timer = NEW(SimTimer)
        timer.call, timer.loop, timer.time = call, self, when
        timer.context = self._context if context is None else context
        if not self.is_dead:
            self.scheduler.put(timer)
        return timer

    def create_task(
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> Any:
        task = SimTask.__new__(SimTask)
        task.number = self.scheduler.number()  # asyncio hashes the task while it is made
        task.__init__(coro, loop=self, name=name or "task", context=context)  # type: ignore[misc] # so it comes second
        tasks = self.tasks
        tasks.append(task)
        if len(tasks) > self._forget_at:
            self.tasks = [one for one in tasks if not one.done()]
            self._forget_at = 2 * len(self.tasks) + 64
        return task

    def kill(self) -> None:
        """End the process as kill -9 does: not even a `finally` runs while the world can still be touched."""
        self.is_dead = True
        self.ready.clear()

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

    get_debug = bool  # type: ignore[assignment] # no: asked for every future, so without a function of our own

    def note_failure(self, context: dict[str, Any]) -> None:
        """Remember what asyncio says went wrong without anybody to hear of it."""
        if not self.is_dead:
            self.failures.append(context)

    call_exception_handler = note_failure

    def run_in_executor(self, *_: object) -> NoReturn:
        raise NotImplementedError("there are no threads in a simulation")

    async def create_connection(self, *_: object, **__: object) -> NoReturn:
        raise NotImplementedError("there are no sockets in a simulation")


def _close(coro: Any) -> None:
    for _ in range(20):  # a `finally` that waits for something has to be ended once more
        try:
            coro.close()
        except BaseException:  # noqa: BLE001 - whatever a dead process says, nobody hears it
            continue
        return
