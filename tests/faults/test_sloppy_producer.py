"""A producer off contract costs the others next to nothing: its records become dead letters with the batch."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from collections.abc import Callable

    from countersign.runtime.record import Outgoing
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

EVERY = 20  # one in so many is off contract: 5 %


@pytest.mark.timeout(180)
async def test_five_per_cent_off_contract(servers: Servers, say: Callable[[str], None]) -> None:
    """All that can be read is folded, all else is a dead letter."""
    await _compare(servers, say, records=2_000, rounds=2)


@pytest.mark.faults_whole
@pytest.mark.timeout(900)
async def test_five_per_cent_off_contract_at_speed(servers: Servers, say: Callable[[str], None]) -> None:
    """Throughput stays at nine tenths of clean, at least."""
    assert await _compare(servers, say, records=20_000, rounds=5) >= 0.9


async def _compare(servers: Servers, say: Callable[[str], None], *, records: int, rounds: int) -> float:
    """Let readers catch up with the same number of records, clean and sloppy in turn; return the ratio of medians."""
    clean, sloppy = [], []
    await _seconds_for(servers, 200, sloppy=False)  # nobody pays for what is done for the first time
    for _ in range(rounds):
        clean.append(await _seconds_for(servers, records, sloppy=False))
        sloppy.append(await _seconds_for(servers, records, sloppy=True))
    ratio = median(clean) / median(sloppy)
    rates = f"{records / median(clean):.0f}/s clean, {records / median(sloppy):.0f}/s with 5 % off contract"
    say(f"sloppy producer: {rates} ({ratio:.2f})")
    return ratio


async def _seconds_for(servers: Servers, records: int, *, sloppy: bool) -> float:
    """Return how long the folding of that many records takes, from each fetched batch to its commit."""
    toy = await a_toy(servers)
    rows = [toy.added() for _ in range(records)]
    if sloppy:
        rows[::EVERY] = [_off_contract(row) for row in rows[::EVERY]]
    await publish(servers.kafka, *rows)
    wanted = records - len(rows[::EVERY]) if sloppy else records
    async with running(toy.service(), toy.settings(), ready=False) as machine:
        await eventually(lambda: _is(toy, "addition", wanted), within=120)
        await eventually(lambda: _is(toy, "dead_letter", records - wanted), within=120)
        took = machine.metrics.registry.get_sample_value("countersign_batch_seconds_sum", {"topic": toy.topic})
        assert took is not None
        return took


async def _is(toy: Toy, table: str, wanted: int) -> bool:
    return await toy.count(table) == wanted


def _off_contract(row: Outgoing) -> Outgoing:
    return type(row)(row.event_id, row.topic, row.key, b'{"id": "nobody", "account": 7}', row.headers)
