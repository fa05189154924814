"""What a simulated event loop hands out: callbacks that are due now, or at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars

    from tests.sim.world.loop import SimLoop, Wire


class SimHandle:
    """A callback that is due. asyncio only ever asks for `cancel`, `cancelled` and `when`.

    `call` has the callback and its arguments, and is None once the handle is cancelled.
    """

    __slots__ = ("call", "context")

    def __init__(self, call: tuple[Any, ...], context: contextvars.Context) -> None:
        self.call: tuple[Any, ...] | None = call
        self.context = context

    def cancel(self) -> None:
        self.call = None

    def cancelled(self) -> bool:
        return self.call is None


class SimTimer(SimHandle):
    """A callback that will be due at `time`, unless its loop is dead by then."""

    __slots__ = ("loop", "time")

    def __init__(self, call: tuple[Any, ...], context: contextvars.Context, loop: SimLoop | Wire, time: float) -> None:
        self.call = call
        self.context = context
        self.loop = loop
        self.time = time

    def when(self) -> float:
        return self.time
