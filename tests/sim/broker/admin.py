"""An admin client that describes topics and groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.sim.broker.client import Client

if TYPE_CHECKING:
    from collections.abc import Sequence


class SimAdmin:
    """Stands in for AIOKafkaAdminClient."""

    def __init__(self, **arguments: Any) -> None:
        self._client = Client("admin", arguments, self)

    async def start(self) -> None:
        await self._client.bootstrap()

    async def close(self) -> None:
        await self._client.close()

    async def describe_topics(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        await self._client.request()
        held = self._client.broker.topics
        return [
            {"topic": topic, "partitions": [{"partition": log.place.partition} for log in held.get(topic, ())]}
            for topic in topics
        ]

    async def describe_consumer_groups(self, names: Sequence[str]) -> list[Any]:
        await self._client.request()
        groups = self._client.broker.groups
        return [
            SimpleNamespace(groups=[groups[name].described() if name in groups else (0, name, "Dead", "", "", [])])
            for name in names
        ]
