"""One running exports service for the tests that do not need one of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.services.exports.exporting import Exporting, exporting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def exports(servers: Servers) -> AsyncIterator[Exporting]:
    async with exporting(servers) as running:
        yield running
