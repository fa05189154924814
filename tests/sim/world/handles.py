"""What a simulated event loop hands out: callbacks that are due now, or at a time."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.world.loop import Scheduler, SimLoop

_NO_CONTEXT = contextvars.Context()
NEW = object.__new__  # a constructor in Python takes as long as all else that is done for a callback


class SimHandle:
    """A callback that is due. asyncio only ever asks for `cancel`, `cancelled` and `when`.

    `call` has the callback and its arguments, and is None once the handle is cancelled.
    """

    __slots__ = ("call",)
    call: tuple[Any, ...] | None

    def cancel(self) -> None:
        self.call = None

    def cancelled(self) -> bool:
        return self.call is None


class SimTimer(SimHandle):
    """A callback that will be due at `time`, unless its loop is dead by then."""

    __slots__ = ("context", "loop", "time")
    context: contextvars.Context
    loop: SimLoop | Wire
    time: float

    def when(self) -> float:
        return self.time


class Wire:
    """Where what comes from a server arrives: it is done at its time, and wakes whoever waits for it."""

    is_dead = False

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    def arrive(self, seconds: float, *call: Any) -> None:
        """Call back when so many seconds are over."""
        scheduler = self._scheduler
        timer = NEW(SimTimer)
        timer.call, timer.context, timer.loop = call, _NO_CONTEXT, self
        timer.time = scheduler.now + seconds
        scheduler.put(timer)
