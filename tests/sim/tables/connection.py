"""Connections to the in-memory PostgreSQL, with the surface of asyncpg's that the runtime uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg

from tests.sim.tables.rows import LockedError, Transaction
from tests.sim.tables.server import time_out
from tests.sim.tables.statements import performed
from tests.sim.world.current import current

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from tests.sim.tables.server import Server
    from tests.sim.tables.statements import Answer
    from tests.sim.world.loop import SimFuture, SimLoop

LOCK_MS_MAX = "10000"  # the lock_timeout that the runtime sets


async def connect(
    _dsn: str = "", *, timeout: float = 60.0, command_timeout: float | None = None, **rest: Any
) -> SimConnection:
    """Open a session. Raises what asyncpg raises where the server is away."""
    del command_timeout
    connection = SimConnection(rest.get("server_settings") or {})
    try:
        await connection.open(timeout)
    except BaseException:
        connection.terminate()
        raise
    return connection


class SimConnection:
    """A session. It belongs to the loop that opened it and ends with it."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.loop: SimLoop = asyncio.get_running_loop()  # type: ignore[assignment] # nothing else runs here
        self.server: Server = current().server
        self.settings = settings
        self._is_open = False
        self._is_busy = False
        self._waiter: SimFuture | None = None
        self._pid = self.server.next_pid()
        self.transaction_open: Transaction | None = None
        self._has_failed = False

    async def open(self, seconds: float) -> None:
        """Reach the server and log in. Raises TimeoutError."""
        waiter = self._round_trip()
        timer = self.loop.call_later(seconds, time_out, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
        if self.server.is_down:
            raise ConnectionRefusedError("no simulated server")
        self._is_open = True
        self.server.sessions[self] = None

    def _round_trip(self) -> SimFuture:
        """Return what is done once a round trip is."""
        waiter = self._waiter = self.loop.create_future()
        self.server.pass_later(waiter)
        return waiter

    # Each is the one coroutine of its statement: a schedule has hundreds, and what is awaited is resumed part by part.

    def execute(self, statement: str, *args: Any, timeout: float | None = None) -> Awaitable[str]:
        del timeout
        return self._run(_status, statement, args)

    def fetch(self, statement: str, *args: Any, timeout: float | None = None) -> Awaitable[list[Any]]:
        del timeout
        return self._run(_rows, statement, args)

    def fetchrow(self, statement: str, *args: Any, timeout: float | None = None) -> Awaitable[Any]:
        del timeout
        return self._run(_row, statement, args)

    def fetchval(self, statement: str, *args: Any, timeout: float | None = None) -> Awaitable[Any]:
        del timeout
        return self._run(_value, statement, args)

    def _must_be_open(self) -> None:
        if not self._is_open:
            raise asyncpg.InterfaceError("connection is closed")
        if self._is_busy:
            raise asyncpg.InterfaceError("cannot perform operation: another operation is in progress")

    def _must_go_on(self) -> None:
        if self.loop.is_dead or not self._is_open:
            raise asyncpg.ConnectionDoesNotExistError("the session is over")

    async def _run(self, part: Callable[[Answer], Any], statement: str, args: tuple[Any, ...]) -> Any:
        """Return a part of what the server answers: it performs the statement at the begin of the round trip or later.

        It does so as soon as the locks are free. Raises LockNotAvailableError.
        """
        self._must_be_open()
        self._is_busy = True
        try:
            comes_late = self.server.rng.random() < 0.5 or self.server.is_hung
            if comes_late:
                await self._round_trip()
            self._must_go_on()
            if self._has_failed and statement not in {"COMMIT", "ROLLBACK"}:
                raise asyncpg.InFailedSQLTransactionError("current transaction is aborted")
            by = self.transaction_open or self.server.transaction(self.settings, self.loop)
            try:
                answer = self._performed(by, statement, args)
            except LockedError as locked:
                answer = await self._performed_later(locked.holder, by, statement, args)
            if not comes_late:
                await self._round_trip()
            return part(answer)
        except asyncpg.PostgresError:
            self._has_failed = self.transaction_open is not None
            raise
        finally:
            self._is_busy = False

    def _performed(self, by: Transaction, statement: str, args: tuple[Any, ...]) -> Answer:
        """Perform a statement; alone it is a transaction of its own. Raises LockedError."""
        mark = by.mark()
        try:
            answer = performed(self.server, by, statement, args)
        except BaseException:
            by.undo(mark)
            raise
        if by is not self.transaction_open:
            by.commit()
        return answer

    async def _performed_later(
        self, holder: Transaction, by: Transaction, statement: str, args: tuple[Any, ...]
    ) -> Answer:
        """Perform a statement once the locks are free. Raises LockNotAvailableError."""
        deadline = self.server.scheduler.now + float(self.settings.get("lock_timeout", LOCK_MS_MAX)) / 1_000
        while True:
            await self._wait_for(holder, deadline)
            self._must_go_on()  # the session may have been lost while it waited
            try:
                return self._performed(by, statement, args)
            except LockedError as locked:
                holder = locked.holder

    async def _wait_for(self, holder: Transaction, deadline: float) -> None:
        waiter = self._waiter = self.loop.create_future()
        holder.waiting.append(lambda: waiter.done() or waiter.set_result(None))
        timer = self.loop.call_at(deadline, lambda: waiter.done() or waiter.set_result(None))
        await waiter
        timer.cancel()
        if not holder.is_over:
            raise asyncpg.LockNotAvailableError("canceling statement due to lock timeout")

    def transaction(self) -> SimTransaction:
        return SimTransaction(self)

    async def begin(self) -> None:
        """Begin a transaction. What a round trip would add here is left out: nothing can come between."""
        self._must_be_open()
        if self.transaction_open is not None:
            raise NotImplementedError("savepoints are not simulated")
        if self.server.is_hung:
            await self.execute("BEGIN")
        self.transaction_open = self.server.transaction(self.settings, self.loop)
        self._has_failed = False

    async def end(self, *, commits: bool) -> None:
        """Commit or roll back. A connection that is lost here may have committed."""
        self._must_be_open()
        server, by = self.server, self.transaction_open
        if by is None:
            raise asyncpg.InterfaceError("no transaction")
        commits = commits and not self._has_failed
        is_cut = commits and bool(by.changes) and server.cuts_commits > 0
        if is_cut:
            server.cuts_commits -= 1
            by.is_cut = True
        counts_first = server.rng.random() < 0.5 and not server.is_hung
        if counts_first:
            self._close_transaction(commits=commits)
        if is_cut:
            self.lose(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        await self._run(_status, "COMMIT" if commits else "ROLLBACK", ())
        if not counts_first:
            self._close_transaction(commits=commits)

    async def leave(self, kind: type[BaseException] | None) -> None:
        """End a transaction that was lost with its connection. Raises InterfaceError, as asyncpg does, for a commit."""
        if kind is None:
            raise asyncpg.InterfaceError("cannot perform operation: connection is closed")

    def _close_transaction(self, *, commits: bool) -> None:
        by, self.transaction_open = self.transaction_open, None
        self._has_failed = False
        if by is not None and commits and not self.loop.is_dead:
            by.commit()
        elif by is not None:
            by.rollback()

    def is_in_transaction(self) -> bool:
        return self.transaction_open is not None

    def is_closed(self) -> bool:
        return not self._is_open

    def get_server_pid(self) -> int:
        return self._pid

    def lose(self, error: Exception) -> None:
        """End the session from the server's side: who waits gets the error, a transaction is rolled back."""
        self._is_open = False
        self.server.sessions.pop(self, None)
        self._close_transaction(commits=False)
        waiter = self._waiter
        if waiter is not None and not waiter.done() and not self.loop.is_dead:
            waiter.set_exception(error)

    def terminate(self) -> None:
        if not self.loop.is_dead:
            self.lose(asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"))

    async def close(self, *, timeout: float | None = None) -> None:
        try:
            if self._is_open and self.server.is_hung:
                async with asyncio.timeout(timeout):
                    await self._round_trip()
        finally:
            self.terminate()


class SimTransaction:
    """A transaction block of a connection."""

    def __init__(self, connection: SimConnection) -> None:
        self._connection = connection

    async def start(self) -> None:
        await self._connection.begin()

    async def commit(self) -> None:
        await self._connection.end(commits=True)

    async def rollback(self) -> None:
        await self._connection.end(commits=False)

    def __aenter__(self) -> Awaitable[None]:
        return self._connection.begin()

    def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Awaitable[None]:
        connection = self._connection
        return connection.leave(kind) if connection.is_closed() else connection.end(commits=kind is None)


def _status(answer: Answer) -> str:
    return answer.status


def _rows(answer: Answer) -> list[Any]:
    return answer.rows


def _row(answer: Answer) -> Any:
    return answer.rows[0] if answer.rows else None


def _value(answer: Answer) -> Any:
    return next(iter(answer.rows[0].values())) if answer.rows else None
