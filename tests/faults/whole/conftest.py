"""One stage for all tests of this folder: servers that can be taken away, six processes, and an SNS that obeys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.stage import Stage, a_stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Stand on one stage for the whole folder: each test leaves it at rest."""
    async with a_stage(tmp_path_factory.mktemp("stage")) as found:
        yield found
