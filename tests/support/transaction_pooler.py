"""A pooler in transaction mode before a real PostgreSQL: each transaction gets whichever server session is free.

What PgBouncer does with `pool_mode = transaction`, as far as one address and one role need it: clients log in through
it, then messages of a client go to the session that was free last, until the server says that no transaction is open.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Session: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
_SSL_REQUEST = 80877103  # PostgreSQL's protocol, SSLRequest
_GONE = (OSError, asyncio.IncompleteReadError)


class TransactionPooler:
    """Listens on a port of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._free: list[Session] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until it goes."""
        session: Session | None = None
        with suppress(*_GONE):
            session = await self._log_in(reader, writer)
            while True:
                self._free.append(session)
                session = None
                message = await _message(reader)
                if message[:1] == b"X":
                    break
                session = self._free.pop()
                session[1].write(message)
                await self._until_idle(reader, writer, session)
        writer.close()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Session:
        """Pass the start and the log-in on to a server session of its own."""
        start = await _start(reader)
        if struct.unpack("!I", start[4:8])[0] == _SSL_REQUEST:
            writer.write(b"N")
            start = await _start(reader)
        session = await asyncio.open_connection(*self._address)
        session[1].write(start)
        await self._until_idle(reader, writer, session)
        return session

    async def _until_idle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: Session) -> None:
        """Pass messages on, both ways, until the server is ready and in no transaction."""

        async def there() -> None:
            while True:
                session[1].write(await _message(reader))

        passing = asyncio.ensure_future(there())
        try:
            while True:
                message = await _message(session[0])
                writer.write(message)
                if message[:1] == b"Z" and message[5:6] == b"I":
                    return
        finally:
            passing.cancel()
            with suppress(asyncio.CancelledError, *_GONE):
                await passing

    def close(self) -> None:
        """End all server sessions."""
        for _, writer in self._free:
            writer.close()


async def _start(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(4)
    return length + await reader.readexactly(struct.unpack("!I", length)[0] - 4)


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


@asynccontextmanager
async def transaction_pooler(host: str, port: int) -> AsyncIterator[TransactionPooler]:
    """Listen before the PostgreSQL at that address, on a free port of the loopback address."""
    pooler = TransactionPooler(host, port)
    server = await asyncio.start_server(pooler.serve, "127.0.0.1", 0)
    pooler.port = server.sockets[0].getsockname()[1]
    try:
        yield pooler
    finally:
        server.close()
        pooler.close()
