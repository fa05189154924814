"""What every figure is held against: the same reads, statements and records by hand, without the runtime and models.

`python -m tests.bench.bare STAGE …` runs one stage: aiokafka, asyncpg and json, a log line a record, the very SQL of
the services on tables of its own (schema `bench_<service>`) and topics of its own (`bench.<topic>`). It checks
nothing, retries nothing and forgets what it had in hand when it dies.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from countersign.runtime.publishing.outbox import APPEND, FORGET
from tests.support.crashing import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka import ConsumerRecord

PREFIX = "bench."
_EVENTS = uuid5(NAMESPACE_URL, "bench")


@dataclass(frozen=True, slots=True)
class Out:
    """A record to publish after the commit."""

    event_id: UUID
    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Stage(Protocol):
    """What a bare loop does with a batch of one topic, in its transaction; and what else it does, if anything."""

    topics: tuple[str, ...]

    async def fold(self, db: Any, topic: str, values: Sequence[dict[str, Any]], keys: Sequence[bytes]) -> list[Out]:
        """Load, decide, save."""
        ...

    def committed(self, values: Sequence[dict[str, Any]]) -> None:
        """Wake whoever waits for them."""
        ...

    async def beside(self, bare: Bare) -> None:
        """Do what is done beside the loop."""
        ...


class Bare:
    """Connections, and the loop."""

    def __init__(self, asked: argparse.Namespace, stage: Stage, service: str) -> None:
        self.asked = asked
        self.service = service
        self._stage = stage
        self._held: list[UUID] = []
        self._group = asyncio.TaskGroup()
        self.producer: AIOKafkaProducer

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """Open a connection to the stage's own tables."""
        settings = {"search_path": f"bench_{self.service}", "jit": "off", "timezone": "UTC"}
        return await asyncpg.connect(self.asked.dsn, server_settings=settings)

    async def append(self, db: Any, outs: Sequence[Out]) -> None:
        """Keep what is due, as the services do."""
        if outs:
            headers = [json.dumps([[name, value.decode()] for name, value in out.headers]) for out in outs]
            ids = [out.event_id for out in outs]
            await db.execute(
                APPEND, ids, [o.topic for o in outs], [o.key for o in outs], [o.value for o in outs], headers
            )

    def publish(self, outs: Sequence[Out]) -> None:
        """Publish what is committed."""
        if outs:
            self._group.create_task(self._publish(outs))

    async def _publish(self, outs: Sequence[Out]) -> None:
        acks = [await self.producer.send(o.topic, o.value, key=o.key, headers=o.headers) for o in outs]
        await asyncio.gather(*acks)
        self._held += [out.event_id for out in outs]

    async def run(self) -> None:
        """Read, fold, publish until SIGTERM."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stopped.set)
        self.producer = AIOKafkaProducer(
            bootstrap_servers=self.asked.bootstrap, enable_idempotence=True, max_batch_size=128 * 1024
        )
        consumer = AIOKafkaConsumer(
            *(PREFIX + topic for topic in self._stage.topics),
            bootstrap_servers=self.asked.bootstrap,
            group_id=f"bench.{self.service}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await self.producer.start()
        await consumer.start()
        print("ready", file=sys.stderr, flush=True)
        async with self._group as group:
            tasks = [
                group.create_task(task) for task in (self._read(consumer), self._forget(), self._stage.beside(self))
            ]
            await stopped.wait()
            for task in tasks:
                task.cancel()
        with suppress(Exception):
            await consumer.stop()
            await self.producer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        db = await self.connect()
        loop = asyncio.get_running_loop()
        offsets: dict[TopicPartition, int] = {}
        committed = loop.time()
        while True:
            got = await consumer.getmany(timeout_ms=500, max_records=500)
            by_topic: dict[str, list[ConsumerRecord]] = {}
            for place, messages in got.items():
                by_topic.setdefault(place.topic, []).extend(messages)
                offsets[place] = messages[-1].offset + 1
            for topic, messages in by_topic.items():
                values = [json.loads(message.value) for message in messages]
                async with db.transaction():
                    outs = await self._stage.fold(
                        db, topic.removeprefix(PREFIX), values, [message.key for message in messages]
                    )
                    await self.append(db, outs)
                self._stage.committed(values)
                self.publish(outs)
                for value in values:
                    log("folded", topic, value)
                sys.stdout.flush()
            if offsets and loop.time() - committed > 1:
                committed = loop.time()
                await consumer.commit(offsets)
                offsets = {}

    async def _forget(self) -> None:
        db = await self.connect()
        while True:
            await asyncio.sleep(0.05)
            if self._held:
                held, self._held = self._held, []
                await db.execute(FORGET, held)


def log(event: str, topic: str, value: dict[str, Any]) -> None:
    """Write one line."""
    line = {"event": event, "topic": topic, "account_id": value["account_id"], "request_id": value.get("request_id")}
    sys.stdout.write(json.dumps(line) + "\n")


def out(topic: str, event_type: str, natural_key: str, value: dict[str, Any], time: Any) -> Out:
    """Return a record of one of our events."""
    event_id = uuid5(_EVENTS, event_type + natural_key)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", str(event_id).encode()),
        ("ce_source", b"/countersign/bench"),
        ("ce_type", event_type.encode()),
        ("ce_time", time.isoformat().encode()),
        ("content-type", b"application/json"),
    ]
    body = json.dumps(value, separators=(",", ":")).encode()
    return Out(event_id, PREFIX + topic, value["account_id"].encode(), body, headers)


def secret_of(asked: argparse.Namespace, name: str) -> tuple[str, bytes]:
    """Return id and secret of the first key of a ring."""
    key = json.loads(Path(asked.secrets).read_text())[name][0]
    return key["key_id"], b64decode(key["secret"])


def main() -> None:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("risk_evaluator", "verifier", "notifier"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--secrets", required=True, help="the secrets file of the service that it stands for")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--sns", default="")
    asked = parser.parse_args()
    die_with_parent()
    from tests.bench import bare_notifier, bare_risk_evaluator, bare_verifier  # noqa: PLC0415 - they import this

    stages = {
        "risk_evaluator": bare_risk_evaluator.Evaluate,
        "verifier": bare_verifier.Verify,
        "notifier": bare_notifier.Notify,
    }
    uvloop.run(_run(asked, stages[asked.stage](asked)))


async def _run(asked: argparse.Namespace, stage: Any) -> None:
    await Bare(asked, stage, asked.stage).run()


if __name__ == "__main__":
    main()
