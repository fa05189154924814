"""What the in-memory clients have in common: requests that take time, and connections that somebody must close."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from tests.sim.world.current import current

if TYPE_CHECKING:
    from tests.sim.broker.log import Broker
    from tests.sim.world.loop import SimLoop


class Client:
    """The connections of one producer, consumer or admin client. Open until `close` has ended."""

    def __init__(self, kind: str, arguments: dict[str, Any], owner: object) -> None:
        self.kind = kind
        self.owner = owner
        self.loop: SimLoop = asyncio.get_running_loop()  # type: ignore[assignment] # nothing else runs here
        self.broker: Broker = current().broker
        self.seconds_max = arguments.get("request_timeout_ms", 40_000) / 1000
        self.is_open = False
        current().clients.append(self)

    async def bootstrap(self) -> None:
        """Connect. Raises KafkaConnectionError."""
        self.is_open = True
        await asyncio.sleep(self.broker.latency())
        if self.broker.is_frozen:
            await self._thawed(self.seconds_max)
        if not self.broker.answers:
            raise KafkaConnectionError("Unable to bootstrap from the simulated brokers")

    async def request(self) -> None:
        """Wait as long as a request and its answer take. Raises KafkaTimeoutError, KafkaConnectionError."""
        await asyncio.sleep(self.broker.latency())
        if self.broker.is_down:
            raise KafkaConnectionError("no broker")
        if self.broker.is_frozen:
            await self._thawed(self.seconds_max)
            if self.broker.is_frozen:
                raise KafkaTimeoutError("no answer")

    async def _thawed(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while self.broker.is_frozen:
                    await self.changed()
        except TimeoutError:
            pass

    async def changed(self) -> None:
        """Wait until something about the brokers changes."""
        waiter = self.loop.create_future()
        self.broker.when_changed(lambda: waiter.done() or waiter.set_result(None))
        await waiter

    async def fetch_all_metadata(self) -> None:
        """Ask for the brokers, as a check of whether there are any."""
        await self.request()

    async def close(self) -> None:
        """Close the connections."""
        self.is_open = False
