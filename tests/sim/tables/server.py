"""An in-memory PostgreSQL for the runtime's own statements: sessions, and what is wrong with the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from tests.sim.tables.rows import Table, Transaction, time_at

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from random import Random
    from uuid import UUID

    from tests.sim.tables.connection import SimConnection
    from tests.sim.world.loop import Scheduler, SimFuture, SimLoop

COMMAND_SECONDS_MAX = 30.0  # the command_timeout that the runtime sets


class Server:
    """Tables and sessions.

    `is_down`: connections are refused, and those there were are gone. `is_hung`: nothing is answered, nothing ends.
    `cuts_commits`: so many of the next commits end with a lost connection, some before and some after they count.
    """

    def __init__(self, scheduler: Scheduler, rng: Random) -> None:
        self.scheduler = scheduler
        self.rng = rng
        self.tables: dict[str, Table] = {}
        self.sessions: dict[SimConnection, None] = {}
        self.is_down = False
        self.is_hung = False
        self.cuts_commits = 0
        self.slowness = 1.0
        self.unknown: list[str] = []
        self.rows_taken: Callable[[Sequence[UUID]], None] = lambda _event_ids: None
        self.letters_settled: Callable[[], None] = lambda: None
        self.rows_owed: Callable[[Sequence[UUID]], None] = lambda _event_ids: None
        self.events_folded: Callable[[str, Sequence[int]], None] = lambda _topic, _numbers: None
        self._hung: list[SimFuture] = []
        self._pids = 0

    def table(self, name: str) -> Table:
        """Return a table; it is made when it is first asked for."""
        found = self.tables.get(name)
        if found is None:
            found = self.tables[name] = Table(name)
        return found

    def now(self) -> datetime:
        """Return the server's clock."""
        return time_at(self.scheduler.now)

    def transaction(self, settings: dict[str, str] | None = None, loop: SimLoop | None = None) -> Transaction:
        """Begin a transaction of the process with this loop."""
        return Transaction(self.scheduler.now, settings, loop)

    def next_pid(self) -> int:
        """Return the id of a new server process."""
        self._pids += 1
        return self._pids

    def pass_later(self, waiter: SimFuture) -> None:
        """Let a waiter go on after a round trip, whose length is drawn; while the server hangs, once it goes on."""
        if self.is_hung:
            self._park(waiter)
        else:
            self.scheduler.wire.arrive((0.0003 + 0.003 * self.rng.random()) * self.slowness, self._pass, waiter)

    def _park(self, waiter: SimFuture) -> None:
        self._hung.append(waiter)
        waiter.get_loop().call_later(COMMAND_SECONDS_MAX, time_out, waiter)

    def _pass(self, waiter: SimFuture) -> None:
        if waiter.done():
            return
        if self.is_hung:
            self._park(waiter)
        else:
            waiter.set_result(None)

    def stop(self) -> None:
        """Go away: every session ends, every open transaction is rolled back."""
        self.is_down = True
        self.is_hung = False
        self.end_sessions(lambda _session: True)

    def end_sessions(self, which: Any) -> None:
        """End sessions as a server that goes away does."""
        for session in [one for one in self.sessions if which(one)]:
            session.lose(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))

    def hang(self) -> None:
        """Answer nothing more."""
        self.is_hung = True

    def heal(self) -> None:
        """Answer everything again."""
        self.is_down = False
        self.cuts_commits = 0
        self.slowness = 1.0
        self.thaw()

    def thaw(self) -> None:
        """Answer again after hanging."""
        self.is_hung = False
        hung, self._hung = self._hung, []
        for waiter in hung:
            if not waiter.done() and not waiter.get_loop().is_dead:  # type: ignore[attr-defined]
                self.pass_later(waiter)


def time_out(waiter: SimFuture) -> None:
    """End a wait that took too long."""
    if not waiter.done():
        waiter.set_exception(TimeoutError())
