"""What the in-memory clients have in common: requests that take time, and connections that somebody must close."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from tests.sim.world.current import current

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from tests.sim.broker.log import Broker
    from tests.sim.world.loop import SimFuture, SimLoop, SimTask


class _Connection:
    """A connection. Its client is open until it is closed."""

    _writer = None

    def __init__(self, client: Client) -> None:
        self._client = client
        client.is_open = True

    def close(self) -> None:
        self._client.is_open = False


class _Cluster:
    """What a client knows of the brokers: the topics that it has asked for."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.known: set[str] = set()

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(len(self._broker.topics[topic]))) if topic in self.known else None

    def leader_for_partition(self, place: TopicPartition) -> int:
        return -1 if place in self._broker.leaderless else 0


def _finish(waiter: SimFuture) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Client:
    """The connections of one producer, consumer or admin client. Open until they are closed."""

    def __init__(self, kind: str, arguments: dict[str, Any], owner: object) -> None:
        self.kind = kind
        self.owner = owner
        self.loop: SimLoop = asyncio.get_running_loop()  # type: ignore[assignment] # nothing else runs here
        self.broker: Broker = current().broker
        self.cluster = _Cluster(self.broker)
        self.seconds_max = arguments.get("request_timeout_ms", 40_000) / 1000
        self.is_open = False
        self._conns: dict[int, _Connection] = {}
        self._sync_task: SimTask | None = None
        current().clients.append(self)

    async def bootstrap(self) -> None:
        """Connect. Raises KafkaConnectionError."""
        bootstrap_conn = _Connection(self)
        try:
            await asyncio.sleep(self.broker.latency())
            if self.broker.is_frozen:
                await self._thawed(self.seconds_max)
        except BaseException:
            bootstrap_conn.close()  # nobody holds it any more, and aiokafka closes it with the last reference
            raise
        if not self.broker.answers:
            bootstrap_conn.close()
            raise KafkaConnectionError("Unable to bootstrap from the simulated brokers")
        self._conns[0] = bootstrap_conn

    async def request(self) -> None:
        """Wait as long as a request and its answer take. Raises KafkaTimeoutError, KafkaConnectionError."""
        waiter = self.loop.create_future()
        self.broker.scheduler.wire.arrive(self.broker.latency(), _finish, waiter)
        await waiter
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
        for connection in self._conns.values():
            connection.close()
