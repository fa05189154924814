"""What running instances hold: asked on their health ports, where a scrape reads a changed secrets file."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from countersign.runtime.watching.key_metrics import METRIC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from countersign.operations.keys.rings import Ring

_TIMEOUT = aiohttp.ClientTimeout(total=5, connect=2)
_BYTES_MAX = 8 * 1024 * 1024  # ours: far more than all metrics of a process
_OK = 200


@dataclass(frozen=True, slots=True)
class Instance:
    """A running process of a service, by the address of its health port."""

    service: str
    url: str

    def __str__(self) -> str:
        """Return service and address."""
        return f"{self.service} at {self.url}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What an instance holds of a ring: when each key becomes active (Unix time), or `away`, why it did not say."""

    instance: Instance
    keys: Mapping[str, float] = field(default_factory=dict)
    away: str | None = None

    def why_not(self, key_id: str, begins: datetime | None = None) -> str | None:
        """Return in words why it cannot be said that this instance knows a key, and its time if given; else None."""
        if self.away is not None:
            return f"{self.instance}: {self.away}"
        if key_id not in self.keys:
            return f"{self.instance}: does not know {key_id}"
        if begins is not None and self.keys[key_id] != begins.timestamp():
            return f"{self.instance}: has another time for {key_id}"
        return None


async def look(instances: Sequence[Instance], ring: Ring) -> list[Seen]:
    """Ask every instance at once."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        return list(await asyncio.gather(*(_ask(session, instance, ring) for instance in instances)))


def not_asked(ring: Ring, instances: Sequence[Instance]) -> list[str]:
    """Return the services that hold the ring and of which no instance was named."""
    named = {instance.service for instance in instances}
    return [service for service in ring.holders if service not in named]


async def _ask(session: aiohttp.ClientSession, instance: Instance, ring: Ring) -> Seen:
    try:
        async with session.get(f"{instance.url.rstrip('/')}/metrics", allow_redirects=False) as reply:
            if reply.status != _OK:
                return Seen(instance, away=f"answered {reply.status}")
            body = await reply.content.read(_BYTES_MAX)
            while len(body) < _BYTES_MAX and (more := await reply.content.read(_BYTES_MAX)):
                body += more
            keys = _keys_in(body.decode(), ring)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Seen(instance, away=f"does not answer ({type(error).__name__})")
    except ValueError:
        return Seen(instance, away="answered something that is no metrics of a service")
    return Seen(instance, keys)


def _keys_in(text: str, ring: Ring) -> dict[str, float]:
    return {
        sample.labels["key_id"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == METRIC and sample.labels.get("ring") == ring.setting
    }
