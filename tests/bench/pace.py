"""How fast work gets done, by wall and by the CPU of whoever does it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import aiohttp

from tests.bench.meters import cpu_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.bench.ground import Ground

_EVERY_SECONDS = 0.1
_SAMPLE = re.compile(r"^(?P<name>[a-z_]+)\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Pace:
    """Work done, and what it took."""

    done: int
    wall: float
    cpu: float

    @property
    def per_core(self) -> float:
        """Return how much a second of CPU does."""
        return self.done / self.cpu if self.cpu else 0.0

    @property
    def per_second(self) -> float:
        return self.done / self.wall if self.wall else 0.0

    @property
    def ms_each(self) -> float:
        """Return the milliseconds of CPU that one takes."""
        return self.cpu / self.done * 1000 if self.done else 0.0


async def pace(progress: Callable[[], Awaitable[int]], pid: int, total: int, within: float) -> Pace:
    """Measure from the first sign of work until `total` is done. Raises TimeoutError."""
    first: tuple[int, float, float] | None = None
    async with asyncio.timeout(within):
        while True:
            done = await progress()
            at, used = monotonic(), cpu_of(pid)
            if first is None and done:
                first = done, at, used
            if first is not None and done >= total:
                return Pace(done - first[0], at - first[1], used - first[2])
            await asyncio.sleep(_EVERY_SECONDS)


def counted(ground: Ground, service: str, name: str, **labels: str) -> Callable[[], Awaitable[int]]:
    """Return how a counter of one of our processes is read."""
    url = f"{ground.fleet.health_url(service)}/metrics"

    async def read() -> int:
        async with aiohttp.request("GET", url) as answer:
            text = await answer.text()
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        found = (m for m in _SAMPLE.finditer(text) if m["name"] == name and wanted <= set(m["labels"].split(",")))
        return int(sum(float(match["value"]) for match in found))

    return read


def folded(ground: Ground, service: str, topic: str) -> Callable[[], Awaitable[int]]:
    """Return how the folded records of a topic are counted."""
    return counted(ground, service, "countersign_records_total", topic=topic, outcome="folded")


class LogLines:
    """Counts the lines of a bare loop's log that hold a word, from now on."""

    def __init__(self, path: Path, word: str) -> None:
        self._path = path
        self._word = word.encode()
        self._offset = path.stat().st_size if path.exists() else 0
        self._count = 0

    async def __call__(self) -> int:
        """Return how many there are."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._count += sum(self._word in line for line in whole.splitlines())
        return self._count


def logged(ground: Ground, stage: str, word: str) -> LogLines:
    """Return how a bare loop's lines are counted."""
    return LogLines(ground.folder / f"bare-{stage}.log", word)
