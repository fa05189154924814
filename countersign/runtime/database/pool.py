"""The connections that a process shares among its routes: a session that failed is closed, never lent again."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

import asyncpg
from asyncpg.pool import PoolAcquireContext

from countersign.runtime.errors import ReadOnlyServerError, TooManyWaitingError, ends_session, takes_no_writes

if TYPE_CHECKING:
    from types import TracebackType

    from countersign.runtime.database.postgres import Connection

# Left to itself the server plans our statements anew for each batch of one, at three times the cost of running them
# (decision 26). But a plan that is kept is that of the tables as they were: an empty one would be read whole for long.
PLANS_KEPT_SECONDS = 10.0
# chosen: below the 4 s in which our own services expect an answer of each other, so that the words of it arrive
ACQUIRE_SECONDS_MAX = 3.0
_KNOWN_SECONDS_MAX = 600.0  # a connection of a pool is closed when it is idle for half as long


class ServingPool(asyncpg.Pool):  # type: ignore[misc] # asyncpg has no types
    """A pool that closes a connection whose user failed by the server, instead of lending it to the next one.

    A session of a demoted server answers reads and refuses every write (SQLSTATE 25006) for as long as it is open. So
    one such error makes all connections of the pool suspect: each is replaced when it is next asked for.
    """

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        """Return a context that lends a connection. It raises TooManyWaitingError after `timeout` s, else after 3.

        The methods of the pool itself (`fetch`, `execute` and so on) acquire by this one, too.
        """
        return _Lending(self, ACQUIRE_SECONDS_MAX if timeout is None else timeout)

    async def judge(self, connection: Any, error: BaseException) -> None:
        """Close a connection if the error means that its session cannot be used any more."""
        if ends_session(error):
            connection.terminate()
        if takes_no_writes(error):
            await self.expire_connections()


class _Lending(PoolAcquireContext):  # type: ignore[misc] # asyncpg has no types
    async def __aenter__(self) -> Connection:
        try:
            connection: Connection = await super().__aenter__()
        except TimeoutError:
            raise TooManyWaitingError(f"no connection within {self.timeout:g} s") from None
        return connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        if exc_val is not None and self.connection is not None:
            await self.pool.judge(self.connection, exc_val)
        await super().__aexit__(exc_type, exc_val, exc_tb)


class Plans:
    """How old the oldest plan of each connection may be, by the id of its server process."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    async def renew(self, connection: Connection) -> None:
        """Discard plans that are too old. A connection that is new here has none. If that fails, it is closed."""
        process_id, now = connection.get_server_pid(), monotonic()
        if process_id not in self._since:
            self._since = {known: since for known, since in self._since.items() if now - since < _KNOWN_SECONDS_MAX}
            self._since[process_id] = now
        elif now - self._since[process_id] > PLANS_KEPT_SECONDS:
            try:
                await connection.execute("DISCARD PLANS")
            except BaseException:
                connection.terminate()  # asyncpg would say goodbye, and wait for a server that may never answer
                raise
            self._since[process_id] = now


async def leave_as_it_is(_connection: Connection) -> None:
    """Let asyncpg end what was left of a transaction, and no more: we lock and set nothing beyond one.

    It would reset every connection that comes back: one more round trip for each request.
    """


async def require_writable(connection: Connection) -> None:
    """Raise ReadOnlyServerError if the session's server is a standby or is set to read-only."""
    if await connection.fetchval("SELECT current_setting('transaction_read_only')") != "off":
        raise ReadOnlyServerError("the server takes no writes")
