"""Long polls: all who wait in this process share one query, and none of them holds a connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.clock import loop_seconds
from countersign.runtime.web.deadline import awake_timeout
from services.verifier import store_requests

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool
    from services.verifier.store_requests import RequestState

LOOK_EVERY_SECONDS_MIN = 0.02  # chosen: one query every 20-50 ms, whoever waits
LOOK_EVERY_SECONDS_MAX = 0.05
ANSWERED_SECONDS_MAX = 3.0  # chosen: beyond the wait; callers give up after 5 s (Decisions.grace_seconds)
WAITING_MAX = 10_000  # ours: beyond, callers come back a little later
CALLER_WAITING_MAX = 5_000  # ours: half of them, so that one caller that runs wild leaves room for every other


class TooManyWaitersError(Exception):
    """As many as may wait in one process, or on behalf of one caller, wait already."""


@dataclass(eq=False, slots=True)
class _Waiter:
    request_id: UUID
    deadline: float
    past_challenged: bool
    answered: asyncio.Future[RequestState | None] = field(repr=False)

    def told(self, state: RequestState | None, now: float) -> bool:
        """Take the answer if this is one: an end, a challenge if that is enough, or the last look.

        A refusal is told at the last look only: until then a record that can be read may come under the same id.
        """
        enough = (
            state is not None and state.state != "refused" and (state.state != "challenged" or not self.past_challenged)
        )
        if not enough and now < self.deadline:
            return False
        if not self.answered.done():
            self.answered.set_result(state)
        return True


class Waiters:
    """Looks on behalf of everybody who waits; own commits wake it, others' are seen at the next look."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[UUID, dict[_Waiter, None]] = {}  # in the order in which they came
        self._callers: Counter[str] = Counter()
        self._wanted = asyncio.Event()

    async def wait(
        self, request_id: UUID, seconds: float, *, past_challenged: bool, caller: str
    ) -> RequestState | None:
        """Return the state when it is enough, or after `seconds` as it then is; None: nothing was taken in.

        Raises TooManyWaitersError, and what a failed look raises; TimeoutError if no look came to an end 3 s after that
        time. A cancelled wait frees its place at once.
        """
        if self._callers.total() >= WAITING_MAX or self._callers[caller] >= CALLER_WAITING_MAX:
            raise TooManyWaitersError
        loop = asyncio.get_running_loop()
        waiter = _Waiter(request_id, loop.time() + seconds, past_challenged, loop.create_future())
        self._waiting.setdefault(request_id, {})[waiter] = None
        self._callers[caller] += 1
        self._wanted.set()
        try:
            async with awake_timeout(seconds + ANSWERED_SECONDS_MAX):
                return await waiter.answered
        finally:
            self._callers[caller] -= 1
            self._leave(waiter)

    def wake(self, request_ids: Iterable[UUID]) -> None:
        """Look at once if somebody waits for one of these: this process committed something about them."""
        if any(request_id in self._waiting for request_id in request_ids):
            self._wanted.set()

    def release(self) -> None:
        """Let everybody go at the next look with what is known then: the process stops."""
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.deadline = 0.0
        self._wanted.set()

    async def run(self) -> None:
        """Look for as long as somebody waits."""
        while True:
            await self._pause()
            self._wanted.clear()
            await self._look()
            await asyncio.sleep(LOOK_EVERY_SECONDS_MIN)

    async def _pause(self) -> None:
        if not self._waiting:
            await self._wanted.wait()
            return
        try:
            async with asyncio.timeout(LOOK_EVERY_SECONDS_MAX - LOOK_EVERY_SECONDS_MIN):
                await self._wanted.wait()
        except TimeoutError:
            pass

    async def _look(self) -> None:
        wanted = list(self._waiting)
        if not wanted:
            return
        try:
            async with self._pool.acquire() as db:
                states = await store_requests.became(db, wanted)
        except Exception as error:  # noqa: BLE001 - it is the waiters' failure: each of them answers for it
            self._fail(wanted, error)
            return
        now = loop_seconds()
        for request_id in wanted:
            state = states.get(request_id)
            for waiter in list(self._waiting.get(request_id, ())):
                if waiter.told(state, now):
                    self._leave(waiter)

    def _fail(self, request_ids: Sequence[UUID], error: Exception) -> None:
        for request_id in request_ids:
            for waiter in list(self._waiting.get(request_id, ())):
                if not waiter.answered.done():
                    waiter.answered.set_exception(error)
                self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        beside = self._waiting.get(waiter.request_id, {})
        beside.pop(waiter, None)
        if not beside:
            self._waiting.pop(waiter.request_id, None)
