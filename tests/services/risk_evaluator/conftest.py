"""A connection as the risk-evaluator's role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.assessments import connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from countersign.runtime.database.postgres import Connection as Db
    from tests.support.servers import Servers


@pytest.fixture
async def db(servers: Servers) -> AsyncIterator[Db]:
    async with connected(servers) as connection:
        yield connection
