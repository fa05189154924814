"""Listening for the requests of a service's sites."""

from __future__ import annotations

import asyncio
import resource
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import hdrs, web

from countersign.runtime.web.http import REFUSAL
from countersign.runtime.web.listener import Listener, plain_refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import structlog

    from countersign.runtime.watching.metrics import Metrics
    from countersign.runtime.web.http import Site

SHUTDOWN_SECONDS_MAX = 5.0
BACKLOG = 1024
DESCRIPTORS_RESERVED = 512  # ours: health port, database, brokers, calls to other services, files


class TooFewDescriptorsError(Exception):
    """The process may open fewer files than its listeners may have connections."""


@asynccontextmanager
async def listening(
    sites: Sequence[Site], metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> AsyncIterator[None]:
    """Listen for the sites' requests; leaving lets those under way finish for 5 s. Raises TooFewDescriptorsError."""
    allow_descriptors(sum(site.connections.all_max for site in sites) + DESCRIPTORS_RESERVED)
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for site in sites:
            site.app.on_response_prepare.append(_anonymous)
            runner = web.AppRunner(site.app, handle_signals=False, shutdown_timeout=SHUTDOWN_SECONDS_MAX)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            assert runner.server is not None  # set up above
            listener = Listener(
                site.name,
                runner.server,
                site.connections,
                exempt=site.proxies,
                refusal=site.app.get(REFUSAL, plain_refusal),
                metrics=metrics,
                log=log,
            )
            server = await loop.create_server(listener, site.host, site.port, reuse_address=True, backlog=BACKLOG)
            stack.callback(server.close)
            addresses = [str(socket.getsockname()) for socket in server.sockets]
            log.info("listening", site=site.name, addresses=addresses)
        yield


def allow_descriptors(needed: int) -> None:
    """Raise the soft limit of open files to what is needed. Raises TooFewDescriptorsError where the hard one is lower.

    Without this a flood of connections would take the descriptors that the database and the health port need.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise TooFewDescriptorsError(
            f"This process may open {hard} files and needs {needed}. Raise the limit (ulimit -n, LimitNOFILE=), "
            "or lower the number of connections (the setting connections.all_max)."
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def _anonymous(_request: web.Request, response: web.StreamResponse) -> None:
    """Leave out which software answers, and in which version."""
    response.headers.popall(hdrs.SERVER, None)
