"""What processes and servers cost, read from /proc and from PostgreSQL's own counters."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

PARTITIONS = 12  # of every topic (schemas/topics)
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(*pids: int) -> float:
    """Return the CPU seconds that processes have used, in user and kernel (proc(5), stat 14 and 15)."""
    return sum(sum(int(part) for part in _stat(pid)[11:13]) for pid in pids) / _TICKS


def cpu_of_tree(pid: int) -> float:
    """Return the CPU seconds of a process and its children, those that ended included."""
    children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent_of(int(p.name)) == pid]
    return sum(int(part) for part in _stat(pid)[11:15]) / _TICKS + cpu_of(*(c for c in children if _alive(c)))


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def _parent_of(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


@dataclass
class Span:
    """Wall and CPU seconds of some processes from here on."""

    pids: tuple[int, ...]
    began: float
    used: float

    @property
    def wall(self) -> float:
        return monotonic() - self.began

    @property
    def cpu(self) -> float:
        return cpu_of(*self.pids) - self.used


def span(*pids: int) -> Span:
    """Start to measure."""
    return Span(pids, monotonic(), cpu_of(*pids))


async def commits(db: asyncpg.Connection[asyncpg.Record]) -> int:
    """Return the commits of the whole database. Sessions tell theirs once a second, so this waits."""
    await asyncio.sleep(1.5)
    await db.execute("SELECT pg_stat_clear_snapshot()")
    counted: int = await db.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    return counted


def places_of(topic: str) -> list[TopicPartition]:
    """Return the partitions of a topic: ours and the bare loops' have as many."""
    return [TopicPartition(topic, number) for number in range(PARTITIONS)]


class Ends:
    """How many records topics have had, in all."""

    def __init__(self, bootstrap: str) -> None:
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)

    async def start(self) -> None:
        await self._consumer.start()

    async def stop(self) -> None:
        with suppress(asyncio.CancelledError):  # aiokafka raises its own task's, where that never ran
            await self._consumer.stop()

    async def of(self, topic: str) -> int:
        """Return the sum of a topic's end offsets."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(places_of(topic))
        return sum(ends.values())

    async def reach(self, topic: str, count: int, within: float) -> None:
        """Wait until a topic has had `count` records. Raises TimeoutError."""
        places = places_of(topic)
        async with asyncio.timeout(within):
            while sum((await self._consumer.end_offsets(places)).values()) < count:
                await asyncio.sleep(0.05)


async def set_offsets(bootstrap: str, group: str, topics: Iterable[str], *, to_end: bool) -> None:
    """Set a group without members to the start or the end of topics."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [place for topic in topics for place in places_of(topic)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places) if to_end else dict.fromkeys(places, 0)
        async with asyncio.timeout(60):
            while True:
                try:
                    await consumer.commit(ends)
                except CommitFailedError:  # a static member that ended is one until its session is over
                    await asyncio.sleep(0.5)
                else:
                    return
    finally:
        await consumer.stop()
