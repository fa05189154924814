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
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from tests.sim.world.handles import SimHandle, SimTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random


_NO_CONTEXT = contextvars.Context()


class LivelockError(AssertionError):
    """The budget of callbacks is used up: something runs in circles and virtual time does not get on."""


class StuckError(BaseException):
    """One callback does not come to its end: no time-out helps there, and no `except Exception` may take it."""


class Wire:
    """Where what comes from a server arrives: it is done at its time, and wakes whoever waits for it."""

    is_dead = False

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def put(self, timer: SimTimer) -> None:
        """Do it: its time has come."""
        if timer.call is not None:
            timer.call[0](*timer.call[1:])

    def arrive(self, seconds: float, *call: Any) -> None:
        """Call back when so many seconds are over."""
        scheduler = self._scheduler
        when = scheduler.now + seconds
        heappush(scheduler.timers, (when, scheduler.number(), SimTimer(call, _NO_CONTEXT, self, when)))


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task with a stable place in sets."""

    number: int

    def __hash__(self) -> int:
        return self.number


SimFuture: TypeAlias = "asyncio.Future[Any]"


class Scheduler:
    """Runs the callbacks of several loops in virtual time.

    `number` returns the next number, by which tasks and equal times are kept in order. `timers` is a heap, `awake` are
    the loops that have callbacks to run at this moment.
    """

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.steps = 0
        self.number: Callable[[], int] = itertools.count(1).__next__
        self.timers: list[tuple[float, int, SimTimer]] = []
        self.awake: list[SimLoop] = []
        self.loops: list[SimLoop] = []
        self.wire = Wire(self)
        self._is_over = False

    def loop(self, name: str) -> SimLoop:
        """Return a new loop: that of one process, or of the world around them."""
        made = SimLoop(self, name)
        self.loops.append(made)
        return made

    def stop(self) -> None:
        """End `run` as soon as nothing is left to do at this moment."""
        self._is_over = True

    def run(self, until: float, steps_max: int) -> None:
        """Run until that time, or until `stop`. Raises LivelockError after that many callbacks."""
        before = events._get_running_loop()
        self._is_over = False
        try:
            self._run(until, self.steps + steps_max)
        finally:
            events._set_running_loop(before)

    def _run(self, until: float, most: int) -> None:
        timers, awake = self.timers, self.awake
        while True:
            if awake:
                self._run_ready(most)
            if self._is_over:
                return
            while timers and (timers[0][2].call is None or timers[0][2].loop.is_dead):
                heappop(timers)
            if not timers or timers[0][0] > until:
                self.now = max(self.now, until)
                return
            now = self.now = max(self.now, timers[0][0])
            while timers and timers[0][0] <= now:
                timer = heappop(timers)[2]
                if timer.call is not None and not timer.loop.is_dead:
                    timer.loop.put(timer)

    def _run_ready(self, most: int) -> None:
        """Run until no loop has anything to do at this moment."""
        awake, draw, running, steps = self.awake, self.rng.random, None, self.steps
        while awake:
            loop = awake.pop() if len(awake) == 1 else awake.pop(int(draw() * len(awake)))
            if loop is not running:
                events._set_running_loop(loop)
                running = loop
            steps += loop.turn()
            while loop.ready and not awake:  # nobody else has anything to do
                steps += loop.turn()
                if steps > most:
                    break
            if loop.ready:
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
        self.ready: deque[SimHandle] = deque()
        self._forget_at = 64
        self._timers = scheduler.timers
        self._awake = scheduler.awake
        self._context = contextvars.copy_context()

    def turn(self) -> int:
        """Run what is ready now, and nothing that becomes ready meanwhile. Return how many callbacks that were."""
        ready = self.ready
        count = len(ready)
        self.is_running_now = True
        for _ in range(count):
            if not ready:  # the process was killed
                break
            handle = ready.popleft()
            call = handle.call
            if call is not None:
                handle.context.run(*call)
        self.is_running_now = False
        return count

    def put(self, handle: SimHandle) -> None:
        """Put a callback behind those that are ready."""
        if not self.ready and not self.is_running_now:
            self._awake.append(self)
        self.ready.append(handle)

    def time(self) -> float:
        return self.scheduler.now

    def call_soon(self, *call: Any, context: contextvars.Context | None = None) -> Any:
        handle = SimHandle(call, self._context if context is None else context)
        if not self.is_dead:
            ready = self.ready
            if not ready and not self.is_running_now:
                self._awake.append(self)
            ready.append(handle)
        return handle

    def call_later(self, delay: float, *call: Any, context: contextvars.Context | None = None) -> Any:
        scheduler = self.scheduler
        when = scheduler.now + delay
        timer = SimTimer(call, self._context if context is None else context, self, when)
        if not self.is_dead:
            heappush(self._timers, (when, scheduler.number(), timer))
        return timer

    def call_at(self, when: float, *call: Any, context: contextvars.Context | None = None) -> Any:
        timer = SimTimer(call, self._context if context is None else context, self, when)
        if not self.is_dead:
            heappush(self._timers, (when, self.scheduler.number(), timer))
        return timer

    def create_future(self) -> SimFuture:
        return asyncio.Future(loop=self)

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
