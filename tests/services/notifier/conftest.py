"""Each test has a stand-in for SNS, people and phones of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.notifier import Neighbourhood, a_neighbourhood
from tests.support.sns_stand_in import SnsStandIn, sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers import Servers


@pytest_asyncio.fixture
async def sns() -> AsyncIterator[SnsStandIn]:
    async with sns_stand_in() as stand_in:
        yield stand_in


@pytest_asyncio.fixture
async def near(servers: Servers, sns: SnsStandIn) -> AsyncIterator[Neighbourhood]:
    async with a_neighbourhood(servers, sns.url) as neighbourhood:
        yield neighbourhood
