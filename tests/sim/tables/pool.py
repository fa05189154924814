"""A pool of in-memory connections for whoever shares them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from countersign.runtime.errors import ends_session
from tests.sim.tables.connection import SimConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def open_pool(_dsn: str, _service: str, size_max: int = 8, *, parameters: Any = None, **_: Any) -> SimPool:
    """Stand in for the runtime's own function: a pool that has reached the server once."""
    pool = SimPool(size_max, dict(parameters or {}))
    async with pool.acquire():
        return pool


class SimPool:
    """Lends connections, and closes one whose user failed by the server."""

    def __init__(self, size_max: int, settings: dict[str, str]) -> None:
        self._settings = settings
        self._free: list[SimConnection] = []
        self._room = asyncio.Semaphore(size_max)

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = None) -> AsyncIterator[SimConnection]:
        if self._room.locked():
            async with asyncio.timeout(timeout):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            while self._free and self._free[-1].is_closed():
                self._free.pop()
            if self._free:
                connection = self._free.pop()
            else:
                connection = await connect(timeout=timeout or 5.0, command_timeout=30.0, server_settings=self._settings)
            try:
                yield connection
            except BaseException as error:
                if not isinstance(error, Exception) or ends_session(error):
                    connection.terminate()
                raise
            self._free.append(connection)
        finally:
            self._room.release()

    async def close(self) -> None:
        self.terminate()

    def terminate(self) -> None:
        for connection in self._free:
            connection.terminate()
        self._free.clear()
