"""The attack that needs no password: thousands of connections whose requests never come, against the whole stack."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from time import monotonic
from typing import TYPE_CHECKING

import aiohttp

from countersign.runtime.web.listening import allow_descriptors
from tests.support.half_open import half_open

if TYPE_CHECKING:
    from tests.support.half_open import HalfOpen
    from tests.support.stack import RunningStack

GONE_SECONDS_MAX = 15.0
ANSWER_SECONDS_MAX = 5.0  # on two busy cores; an answer takes milliseconds
# 3,000 at the pages, and some at every other kind of listener at the same time.
ATTACKED = {"gateway": 3_000, "console": 500, "verifier": 500, "enrolment": 500, "exports": 500, "gateway health": 500}
ASKED = ("gateway health", "verifier health", "exports health", "enrolment health")


async def test_half_open_connections_end_and_block_nobody(stack: RunningStack) -> None:
    """5,500 from one machine: pages and every readyz answer meanwhile, each on a new connection; after 15 s all end."""
    allow_descriptors(sum(ATTACKED.values()) + 512)
    asked = {name: f"{stack.layout.url(name)}/readyz" for name in ASKED} | {
        name: f"{stack.layout.url(name)}/login" for name in ("gateway", "console")
    }
    opened: dict[str, list[HalfOpen]] = {}
    answered = 0
    async with AsyncExitStack() as attack:
        for name, number in ATTACKED.items():
            opened[name] = await attack.enter_async_context(half_open(stack.layout.port(name), number))
        since = monotonic()
        while monotonic() - since < GONE_SECONDS_MAX:
            for name, url in asked.items():
                assert await _status(url) == 200, name
                answered += 1
            for connections in opened.values():
                for one in connections:
                    one.trickle()
            await asyncio.sleep(1)
        left = {name: sum(not one.ended for one in connections) for name, connections in opened.items()}
    assert left == dict.fromkeys(ATTACKED, 0)
    assert answered >= len(asked)


async def _status(url: str) -> int:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url, allow_redirects=False) as answer:
        assert "Server" not in answer.headers
        return answer.status
