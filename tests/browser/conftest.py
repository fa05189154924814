"""Chromium against the whole stack; the codes are read from the local SNS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.person import Computer
from tests.support.chromium import started_chromium
from tests.support.whole_stack import Household, WholeStack, new_address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.stack import RunningStack

expect.set_options(timeout=15_000)  # a text in doubt takes the notifier its 5 s, and machines of tests are busy


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole(stack: RunningStack) -> WholeStack:
    """Return the run's stack, as its pages' visitors see it."""
    return WholeStack(stack)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Start one Chromium for all tests; each computer is a context of its own."""
    async with started_chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def household(whole: WholeStack) -> Household:
    """Make an account of the test's own, two-factor on."""
    return await whole.household()


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def script(request: pytest.FixtureRequest) -> bool:
    """Say whether the browser runs scripts."""
    return bool(request.param)


@pytest.fixture
def computer(chromium: Browser, whole: WholeStack, script: bool) -> Callable[..., Any]:
    """Return how a person sits down at a computer; scripts or none as the test's turn says."""

    @asynccontextmanager
    async def sit_down(*, address: str | None = None, width: int = 1100, **options: Any) -> AsyncIterator[Computer]:
        seen_as = address or new_address()
        context = await chromium.new_context(
            java_script_enabled=script,
            viewport={"width": width, "height": 800},
            extra_http_headers={"X-Forwarded-For": seen_as},
            **{"locale": "en-GB", **options},
        )
        context.set_default_timeout(15_000)
        try:
            yield Computer(await context.new_page(), whole, seen_as, scripts=script)
        finally:
            await context.close()

    return sit_down
