"""A program without an outbox: it submits access requests through the client library, several at once."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from countersign.client.requests import AccessRequests, BuiltRequest, KafkaAwayError, ProducerSettings
from countersign.contract import Client

if TYPE_CHECKING:
    from tests.sim.world.world import World

SUBMIT_SECONDS = 2.0


@cache
def _built() -> BuiltRequest:
    account = "0197a000-0000-7000-8000-000000000001"
    return AccessRequests("sim").build("login", account, account, Client(), {}, request_id=account)


@cache
def _settings() -> ProducerSettings:
    return ProducerSettings(bootstrap_servers="127.0.0.1:1", submit_seconds=SUBMIT_SECONDS)


class Submitters:
    """Submissions of one process that share one AccessRequests."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._requests: AccessRequests | None = None
        self.loop = world.scheduler.loop("client")
        self.loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._requests = AccessRequests("sim", _settings())

    def submit(self) -> None:
        """Submit a request now."""
        self.loop.call_soon(lambda: self.loop.create_task(self._submit()))

    async def _submit(self) -> None:
        world, began = self._world, self.loop.time()
        assert self._requests is not None
        well_since = world.broker_well_since
        try:
            await self._requests.submit(_built())
        except KafkaAwayError as error:
            kind = type(error.__cause__).__name__
            world.note("client", "submission_failed", {"error": kind})
            # Behind a lost ack a record may wait as long as that ack is waited for.
            patience = 0.0 if kind == "ProducerClosed" else 2 * SUBMIT_SECONDS
            if well_since is not None and well_since + patience < began and well_since == world.broker_well_since:
                world.find(f"submissions on a healthy broker succeed: one failed with {kind}")

    def close(self) -> None:
        """End the program in order."""
        if self._requests is not None:
            self.loop.call_soon(lambda: self.loop.create_task(self._requests.close()))  # type: ignore[union-attr]
