"""One guarded broker for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.guarded_kafka import GuardedKafka, guarded_kafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def broker() -> AsyncIterator[GuardedKafka]:
    """Lend out the broker."""
    async with guarded_kafka() as running:
        yield running
