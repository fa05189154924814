"""A process that was stopped for a while: what its clients sent meanwhile is answered, on both kinds of loop."""

from __future__ import annotations

import asyncio
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from countersign.runtime.web import http
from countersign.runtime.web.deadline import OVERSLEPT_SECONDS
from tests.unit.runtime.test_connections import GET, hurry, serving
from tests.unit.runtime.test_hostile_requests import CHUNKED

if TYPE_CHECKING:
    from collections.abc import Callable

SLEPT = OVERSLEPT_SECONDS + 0.6  # past the deadline by more than that
DEADLINE = 0.3
_JSON = b'{"amount": 3}'
REST = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_JSON), _JSON)


def connected(port: int) -> socket.socket:
    """Return a connection whose client never lets the loop run."""
    return socket.create_connection(("127.0.0.1", port), timeout=5)


async def answer_of(client: socket.socket) -> bytes:
    """Return the first bytes of the answer."""
    return await asyncio.to_thread(client.recv, 12)


async def stopped_and_woken(patch: pytest.MonkeyPatch) -> None:
    """Send a request on a new, a half read and an idle connection each, and the rest of a body; then do not run."""
    for phase in ("HEADERS", "IDLE"):
        hurry(patch, phase, DEADLINE)
    patch.setattr(http, "BODY_SECONDS_MAX", DEADLINE)
    async with serving() as served:
        clients = new, half, idle, body = tuple(connected(served.port) for _ in range(4))
        try:
            half.sendall(GET[:10])
            body.sendall(CHUNKED)
            idle.sendall(GET)
            assert (await answer_of(idle)).endswith(b" 200")
            await asyncio.to_thread(idle.recv, 65536)
            new.sendall(GET)
            half.sendall(GET[10:])
            idle.sendall(GET)
            body.sendall(REST)
            time.sleep(SLEPT)  # noqa: ASYNC251 - nothing of this process runs meanwhile, as under SIGSTOP
            answers = [await answer_of(client) for client in clients]
            assert answers == [b"HTTP/1.1 200"] * 4
            assert [served.ended(cause) for cause in ("headers", "unused", "idle")] == [0, 0, 0]
            assert await asyncio.to_thread(new.recv, 65536)
            assert await asyncio.to_thread(new.recv, 1) == b""  # and the deadlines still count
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_what_came_while_the_process_slept_is_answered(
    run: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a thread, as this one has a loop of its own."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: run(stopped_and_woken(monkeypatch))).result(timeout=60)
