"""Topics that acknowledge nothing, topics that refuse large batches; and what a process holds open."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer.sender import SendProduceReqHandler

from countersign.runtime.messages.record import Outgoing
from countersign.runtime.publishing import outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from countersign.runtime.program.machine import Machine

ORDINARY: dict[str, str] = {}
NARROW = {"max.message.bytes": "2000"}


async def a_topic(bootstrap: str, configs: dict[str, str] = ORDINARY, partitions: int = 1, name: str = "") -> str:
    """Lay a topic and return its name."""
    name = name or f"odd.{uuid4().hex[:10]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    finally:
        await admin.close()
    return name


def silent_topics(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Return a set of topics, empty at first, of which no record is acknowledged while they are in it.

    It is as if the broker answered NotEnoughReplicas, which aiokafka repeats for ever. Since Kafka 4.1 a topic of one
    replica cannot be made to answer that, and a broker that is ended takes all topics with it.
    """
    topics: set[str] = set()
    ordinary = SendProduceReqHandler.do

    async def do(self: Any, node_id: int) -> None:
        silent = [batch for partition, batch in self._batches.items() if partition.topic in topics]
        self._batches = {each: batch for each, batch in self._batches.items() if each.topic not in topics}
        if self._batches:
            await ordinary(self, node_id)
        if silent:
            await asyncio.sleep(self._default_backoff)
        for batch in silent:
            self._sender._message_accumulator.reenqueue(batch)  # noqa: SLF001 - as aiokafka does it

    monkeypatch.setattr(SendProduceReqHandler, "do", do)
    return topics


def a_row(topic: str, size: int = 100) -> Outgoing:
    """Return something to publish, with its id as its key."""
    event_id = uuid4()
    return Outgoing(event_id, topic, event_id.bytes, b"x" * size, ())


async def commit(machine: Machine, rows: Sequence[Outgoing]) -> None:
    """Owe rows to Kafka as a fold does: in a transaction, handed over after its commit."""
    async with machine._frame.pool.acquire() as db, db.transaction():  # noqa: SLF001 - a service's own way
        kept = await outbox.append(db, rows)
    machine.publisher.hand(kept)


def held_open() -> tuple[int, int]:
    """Return how many sockets and how many tasks this process has."""
    sockets = 0
    for file in Path("/proc/self/fd").iterdir():
        try:
            sockets += str(file.readlink()).startswith("socket:")
        except OSError:
            continue
    return sockets, len(asyncio.all_tasks())


def value(machine: Machine, name: str, **labels: Any) -> float:
    """Return a metric of a running service."""
    return machine.metrics.registry.get_sample_value(name, labels) or 0.0
