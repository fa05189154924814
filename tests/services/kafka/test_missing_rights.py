"""What becomes of rows that we may not write, on a broker that asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog

from countersign.operations.rights import Operation, Resource, Right, add_rights
from countersign.runtime.checkpoint import nothing
from countersign.runtime.database.postgres import Link
from countersign.runtime.publishing import outbox
from countersign.runtime.publishing.publisher import Publisher
from countersign.runtime.watching.health import Health
from countersign.runtime.watching.metrics import Metrics
from tests.support.guarded_kafka import BOB
from tests.support.kafka import eventually, read_topic
from tests.support.odd_topics import a_row, a_topic
from tests.support.toy import a_toy

if TYPE_CHECKING:
    from tests.support.guarded_kafka import GuardedKafka
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("known", [True, False])
async def test_rows_wait_for_our_rights_and_others_do_not_wait_for_them(
    servers: Servers, broker: GuardedKafka, known: bool
) -> None:
    """Whether we may see the topic or not: not ready, an alarm, the same producer; then all arrives by itself."""
    toy = await a_toy(servers)
    everybody = f"127.0.0.1:{broker.open.port}"
    fine, closed = await a_topic(everybody), await a_topic(everybody)
    rights = [Right(BOB, Operation.WRITE, Resource.TOPIC, fine)]
    rights += [Right(BOB, Operation.DESCRIBE, Resource.TOPIC, closed)] if known else []
    await add_rights(broker.guard.administrator(), rights)
    health, link = Health(), Link(toy.dsn, toy.name)
    health.tell("start", None)
    publisher = Publisher(
        broker.bob(), link=link, health=health, metrics=Metrics(), checkpoint=nothing, log=structlog.get_logger()
    )
    rows = [a_row(closed) for _ in range(10)]
    with structlog.testing.capture_logs() as said:
        async with asyncio.TaskGroup() as group:
            group.create_task(publisher.run())
            async with link.use() as db:
                await outbox.append(db, rows)
            publisher.hand(rows)

            async def says_so() -> bool:
                return "TopicAuthorizationFailedError" in health.reasons.get("kafka", "")

            await eventually(says_so, within=30)
            for _ in range(3):
                async with link.use() as db:
                    await outbox.append(db, [row := a_row(fine)])
                publisher.hand([row])

            async def only_those_wait() -> bool:
                return await toy.count("outbox") == len(rows)

            await eventually(only_those_wait, within=10)
            await asyncio.sleep(2)
            assert await says_so()
            assert publisher.producing.made == 1
            await add_rights(broker.guard.administrator(), [Right(BOB, Operation.WRITE, Resource.TOPIC, closed)])

            async def nothing_waits() -> bool:
                return await toy.count("outbox") == 0 and not health.reasons

            await eventually(nothing_waits, within=30)
            publisher.stop()
    assert {line["log_level"] for line in said if line["event"] == "publish_rights_missing"} == {"error"}
    assert {record.key for record in await read_topic(everybody, closed)} == {row.key for row in rows}
