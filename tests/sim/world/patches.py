"""Puts the stand-ins where the runtime's modules have imported the real things from, for as long as a run lasts.

A module is patched by what a name in it is bound to, wherever the runtime keeps that module.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiokafka
import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from countersign.client import requests
from countersign.runtime.broker import kafka_refusal
from countersign.runtime.consuming import consumer, coverage, fetching, unpacking, watchdog
from countersign.runtime.database import postgres
from countersign.runtime.due_work.left_over import LeftOver
from countersign.runtime.folding import brake
from countersign.runtime.folding.redrive import Redrives
from countersign.runtime.program import machine, service
from countersign.runtime.publishing import partition_queue, publisher
from tests.sim.broker.admin import SimAdmin
from tests.sim.broker.consumer import SimConsumer
from tests.sim.broker.producer import SimProducer
from tests.sim.broker.unpacked import fetch_unpacked
from tests.sim.invariants.lanes import WatchedHealth
from tests.sim.tables import connection, pool
from tests.sim.world.current import current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from random import Random

    from tests.sim.world.loop import SimTask

_USED = (requests, kafka_refusal, consumer, coverage, watchdog, postgres, publisher, service)

# Sizes at which a schedule of some dozens of records meets what needs thousands otherwise.
SMALLER: tuple[tuple[Any, str, Any], ...] = (
    (brake, "WINDOW", 8),
    (brake, "FAILED_MAX", 2),
    (brake, "KEYS_MIN", 2),
    (brake, "IN_A_ROW", 4),
    (publisher, "ROWS_MAX", 12),
    (publisher, "WRITE_EVERY_SECONDS", 1.0),
    (publisher, "TEND_EVERY_SECONDS_MAX", 2.0),
    (partition_queue, "IN_FLIGHT_MAX", 4),
    (partition_queue, "WAITING_MAX", 6),
    (partition_queue, "PROBES_MAX", 2),
    (LeftOver, "parallel", 6),
    (LeftOver, "every", 4.0),
    (Redrives, "every", 4.0),
    (fetching, "FETCH_MS", 2000),
    (machine, "LOOK_AT_POSTGRES_EVERY_SECONDS", 4.0),
)


def _monotonic() -> float:
    return current().scheduler.now


def _randbelow(most: int) -> int:
    return current().rng.randrange(most)


def _token_bytes(count: int | None = None) -> bytes:
    return current().rng.randbytes(count or 32)


def _system_random() -> Random:
    """Let pauses between tries be drawn from the seed as well."""
    return current().rng


def _all_tasks() -> list[SimTask]:
    return asyncio.get_running_loop().pending()  # type: ignore[attr-defined] # nothing else runs here


async def _no_refusal(*_: object, **__: object) -> None:
    """Find no reason why the brokers would not let us in: there is none in a simulation."""


@asynccontextmanager
async def _no_listening(*_: object, **__: object) -> AsyncIterator[None]:
    yield


def _nothing(*_: object, **__: object) -> None:
    return None


_SECRETS = SimpleNamespace(
    **{name: getattr(secrets, name) for name in secrets.__all__}
    | {"SystemRandom": _system_random, "randbelow": _randbelow, "token_bytes": _token_bytes}
)


def _stand_ins() -> dict[int, object]:
    """Return what stands in for what, by the identity of the real thing."""
    return {
        id(aiokafka.AIOKafkaProducer): SimProducer,
        id(aiokafka.AIOKafkaConsumer): SimConsumer,
        id(AIOKafkaAdminClient): SimAdmin,
        id(time.monotonic): _monotonic,
        id(secrets): _SECRETS,
        id(kafka_refusal.refusal_of): _no_refusal,
        id(unpacking.fetch_unpacked): fetch_unpacked,
    }


@contextmanager
def patched() -> Iterator[None]:
    """Let the runtime talk to the stand-ins of the current world."""
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, name: str, value: object) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    stand_ins = _stand_ins()
    for module in [one for name, one in sorted(sys.modules.items()) if name.startswith("countersign.")]:
        for name, value in list(vars(module).items()):
            if id(value) in stand_ins and not name.startswith("__"):
                put(module, name, stand_ins[id(value)])
    put(asyncio, "all_tasks", _all_tasks)
    put(asyncio.tasks._all_tasks, "add", _nothing)  # where real loops look tasks up; a simulated one knows its own
    put(asyncpg, "connect", connection.connect)
    put(postgres, "open_pool", pool.open_pool)
    put(service, "listening", _no_listening)
    put(service, "health_application", _nothing)
    put(service, "Site", _nothing)
    put(service, "Health", WatchedHealth)
    put(service, "Metrics", lambda: current().metrics_of())
    for decoded in (ConsumerProtocolMemberMetadata, ConsumerProtocolMemberAssignment):
        put(decoded, "decode", lru_cache(maxsize=50)(decoded.decode))  # the same few, look after look
    for owner, name, value in SMALLER:
        put(owner, name, value)
    # A killed process lets go of generators in the middle: what they say then is said by nobody.
    put(sys, "unraisablehook", _nothing)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
