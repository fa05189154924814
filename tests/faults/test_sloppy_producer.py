"""A producer off contract costs the others next to nothing: its records become dead letters with the batch."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from countersign.runtime.watching import logs
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from countersign.runtime.consuming.consumer import Worker
    from countersign.runtime.messages.record import Outgoing
    from tests.support.servers import Servers
    from tests.support.toy import Toy

pytestmark = pytest.mark.servers

EVERY = 20  # one in so many is off contract: 5 %


@pytest.mark.timeout(180)
async def test_five_per_cent_off_contract(servers: Servers, say: Callable[[str], None]) -> None:
    """All that can be read is folded, all else is a dead letter."""
    await _compare(servers, say, records=4_000, rounds=2)


@pytest.mark.faults_whole
@pytest.mark.timeout(900)
async def test_five_per_cent_off_contract_at_speed(servers: Servers, say: Callable[[str], None]) -> None:
    """Throughput stays at nine tenths of clean, at least."""
    assert await _compare(servers, say, records=10_000, rounds=7) >= 0.9


async def _compare(servers: Servers, say: Callable[[str], None], *, records: int, rounds: int) -> float:
    """Let readers catch up with the same number of records, clean and sloppy in turn; return the ratio of medians.

    Throughput is told by the reader's own CPU, as it is a core that a saturated reader is short of: what else runs on
    the machine does not count.
    """
    clean, sloppy = [], []
    await _seconds_for(servers, 200, sloppy=False)  # nobody pays for what is done for the first time
    for _ in range(rounds):
        clean.append(await _seconds_for(servers, records, sloppy=False))
        sloppy.append(await _seconds_for(servers, records, sloppy=True))
    ratio = median(clean) / median(sloppy)
    rates = f"{records / median(clean):.0f}/s of a core clean, {records / median(sloppy):.0f}/s with 5 % off contract"
    say(f"sloppy producer: {rates} ({ratio:.2f})")
    return ratio


async def _seconds_for(servers: Servers, records: int, *, sloppy: bool) -> float:
    """Return the seconds of CPU from the first batch until all of them are folded or dead letters."""
    toy = await a_toy(servers)
    rows = [toy.added() for _ in range(records)]
    if sloppy:
        rows[::EVERY] = [_off_contract(row) for row in rows[::EVERY]]
    await publish(servers.kafka, *rows)
    wanted = records - len(rows[::EVERY]) if sloppy else records
    async with _logged_as_shipped() as log, running(toy.service(), toy.settings(), ready=False, log=log) as machine:
        await eventually(lambda: _has_begun(machine.lanes[0].worker), within=60)
        began = process_time()
        await eventually(lambda: _is(toy, "addition", wanted), within=120)
        await eventually(lambda: _is(toy, "dead_letter", records - wanted), within=120)
        return process_time() - began


@asynccontextmanager
async def _logged_as_shipped() -> AsyncIterator[Any]:
    """Log as JSON, to where nobody reads it."""
    with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230 - it never blocks
        yield structlog.wrap_logger(
            structlog.WriteLogger(nowhere), processors=[logs.redact, structlog.processors.JSONRenderer()]
        )


async def _has_begun(worker: Worker | None) -> bool:
    return worker is not None and bool(worker.done)


async def _is(toy: Toy, table: str, wanted: int) -> bool:
    return await toy.count(table) == wanted


def _off_contract(row: Outgoing) -> Outgoing:
    return type(row)(row.event_id, row.topic, row.key, b'{"id": "nobody", "account": 7}', row.headers)
