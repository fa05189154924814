"""The bare loops that `make bench` measures against use the services' own statements: they still fit."""

from __future__ import annotations

import pytest

from tests.bench.bare import PREFIX
from tests.bench.flows import STAGES
from tests.bench.ground import ground

pytestmark = pytest.mark.servers
PEOPLE, FLOWS = 50, 10


@pytest.mark.timeout(180)
async def test_bare_loops_take_whole_log_ins() -> None:
    """Request, text, answer, grant, by hand."""
    async with ground(people=PEOPLE, scale=0.01) as on, on.bare(*STAGES):
        load = await on.load("flows", prefix=PREFIX, run="smoke", count=FLOWS, parallel=2, first=1)
        told = await load.result(60)
    assert (told["done"], told["failed"]) == (FLOWS, 0)
