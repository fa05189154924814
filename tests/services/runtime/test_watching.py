"""What a process shows of itself while work waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiohttp.test_utils import TestClient, TestServer

from countersign.runtime.publishing import outbox
from countersign.runtime.watching.health import health_application
from tests.support.frame import running
from tests.support.kafka import eventually, publish
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from countersign.runtime.program.machine import Machine
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


def value(machine: Machine, name: str, **labels: str) -> float:
    return machine.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_lag_is_shown_in_seconds_until_it_is_folded(servers: Servers) -> None:
    """For as long as the fold is held up, and 0 again afterwards."""
    toy = await a_toy(servers)
    held, go = asyncio.Event(), asyncio.Event()

    async def hold(name: str) -> None:
        if name == "decided":
            held.set()
            await go.wait()

    async with running(toy.service(), toy.settings(), checkpoint=hold) as machine:
        await publish(toy.servers.kafka, toy.added())
        await held.wait()

        async def waits(seconds: float) -> bool:
            return value(machine, "countersign_lag_seconds", topic=toy.topic) >= seconds

        await eventually(lambda: waits(5), within=30)
        go.set()

        async def caught_up() -> bool:
            return value(machine, "countersign_lag_seconds", topic=toy.topic) == 0

        await eventually(caught_up, within=30)


async def test_metrics_say_whether_the_process_is_ready(servers: Servers) -> None:
    """As /readyz does at that moment."""
    toy = await a_toy(servers)
    async with (
        running(toy.service(), toy.settings()) as machine,
        TestClient(TestServer(health_application(machine.health, machine.metrics))) as client,
    ):
        assert "countersign_ready 1.0" in await (await client.get("/metrics")).text()
        machine.health.tell("sns", "texts wait")
        assert "countersign_ready 0.0" in await (await client.get("/metrics")).text()


async def test_an_outbox_row_has_an_age_until_it_is_published_or_parked(servers: Servers) -> None:
    """Of those that wait, the oldest; a parked row has an alert of its own."""
    toy = await a_toy(servers)
    async with running(toy.service(), toy.settings()) as machine, machine.publisher._link.use() as db:  # noqa: SLF001 - its schema
        assert await outbox.pending(db) == (0, 0, 0.0)
        for number, seconds in enumerate((40, 90)):
            await db.execute(
                "INSERT INTO outbox (event_id, topic, key, value, headers, leased_until, owed_at) VALUES "
                "(gen_random_uuid(), $1, 'k', 'v', '[]', now() + interval '1 hour', now() - make_interval(secs => $2))",
                f"{toy.topic}.{number}",
                float(seconds),
            )
        waiting, parked, oldest = await outbox.pending(db)
        assert (waiting, parked) == (2, 0)
        assert 90 <= oldest < 95
        await db.execute("UPDATE outbox SET parked_reason = 'x' WHERE topic = $1", f"{toy.topic}.1")
        waiting, parked, oldest = await outbox.pending(db)
        assert (waiting, parked) == (1, 1)
        assert 40 <= oldest < 45

        async def shown() -> bool:
            return value(machine, "countersign_outbox_oldest_seconds") >= 40

        await eventually(shown, within=10)
