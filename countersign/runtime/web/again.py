"""A request that met a migration is answered by a second try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from countersign.runtime.errors import OUTDATED_PLAN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import structlog
    from aiohttp import web

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answer_again_if_outdated(
    request: web.Request, handler: Handler, log: structlog.typing.FilteringBoundLogger
) -> web.StreamResponse:
    """Return the handler's answer; ask it once more if a migration changed the tables under a prepared statement.

    PostgreSQL has rolled the transaction back then, and asyncpg has discarded the statements of all connections.
    """
    try:
        return await handler(request)
    except OUTDATED_PLAN as error:
        log.warning("statement_outdated", error=type(error).__name__)
        return await handler(request)
