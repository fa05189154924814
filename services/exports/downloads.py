"""Files on their way out: read from the database piece by piece, no more of them at once than a process can hold."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from countersign.runtime.web.streaming import PIECE_BYTES, Streams
from services.exports import store
from services.exports.files import CONTENT_TYPES, content_disposition, file_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping
    from uuid import UUID

    from countersign.runtime.database.postgres import Pool
    from services.exports.model import Export


@dataclass(frozen=True, slots=True)
class Download:
    """A file as it is answered."""

    headers: Mapping[str, str]
    size: int
    pieces: AsyncGenerator[bytes, None] = field(repr=False)


class Downloads:
    """The downloads of a process."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._streams = Streams()

    @asynccontextmanager
    async def open(self, export: Export) -> AsyncIterator[Download | None]:
        """Take a place and open the file while it is offered, else None. Raises TooManyStreamsError."""
        async with self._streams.place():
            async with self._pool.acquire() as db:
                size = await store.file_bytes(db, export.export_id, export.account_id, export.user_id)
            if size is None:
                yield None
                return
            name = file_name(export.list_name, export.asked_at, export.format)
            headers = {
                "Content-Type": CONTENT_TYPES[export.format],
                "Content-Disposition": content_disposition(name),
                "Cache-Control": "no-store",
                "X-Content-Type-Options": "nosniff",
            }
            yield Download(headers, size, self._pieces(export.export_id, size))

    async def _pieces(self, export_id: UUID, size: int) -> AsyncGenerator[bytes, None]:
        """Yield the file; a connection is lent for each piece and not while the client takes it."""
        for start in range(0, size, PIECE_BYTES):
            async with self._pool.acquire() as db:
                piece = await store.piece(db, export_id, start, PIECE_BYTES)
            if not piece:
                raise ConnectionResetError("the file's time was over while it was fetched")
            yield piece
