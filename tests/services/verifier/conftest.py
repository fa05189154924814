"""One verifier for all tests of this folder: each test has users, requests and challenges of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.verifier import VerifierUnderTest, a_verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def verifier(servers: Servers) -> AsyncIterator[VerifierUnderTest]:
    """Run a verifier in a task of its own: fixtures begin and end in different ones, task groups must not."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[VerifierUnderTest] = loop.create_future()
    ending = asyncio.Event()

    async def live() -> None:
        try:
            async with a_verifier(servers) as verifier:
                started.set_result(verifier)
                await ending.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    task = loop.create_task(live())
    yield await started
    ending.set()
    await task
