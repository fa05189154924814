"""The load, in a process of its own: `python -m tests.bench.load KIND …` ends with one line of JSON on stdout."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from statistics import quantiles
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from countersign.contract import challenge_id_of
from tests.bench.crowd import DIGEST, code, computer, request_id, somebody
from tests.bench.meters import places_of
from tests.support.crashing import die_with_parent
from tests.support.sns_stand_in import sns_stand_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from tests.support.sns_stand_in import Publish

GIVE_UP_SECONDS = 60.0


@dataclass
class Load:
    """What is asked, of whom and how fast; `seen` are seconds from the first word to the last, one a request."""

    asked: argparse.Namespace
    seen: list[float] = field(default_factory=list)
    failed: int = 0

    def topic(self, name: str) -> str:
        """Return a topic's name: the bare loops have topics of their own."""
        return f"{self.asked.prefix}{name}"

    def request(self, nth: int, *, known: bool) -> tuple[bytes, bytes, list[tuple[str, bytes]]]:
        """Return key, value and headers of a login, written without models: the load must be cheap."""
        person = somebody(nth % self.asked.people)
        ip = person.computer if known else computer(self.asked.first + nth)
        asked = request_id(self.asked.run, nth)
        value = (
            f'{{"request_id":"{asked}","account_id":"{person.account_id}","user_id":"{person.user_id}",'
            f'"action":"login","client":{{"ip":"{ip}","locale":"en"}},"digest":"{DIGEST}",'
            f'"summary":{{"what":null,"rows":null,"format":null}},"number_id":null}}'
        )
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_id", str(asked).encode()),
            ("ce_source", b"/countersign/bench"),
            ("ce_type", b"countersign.access.requested.v1"),
            ("ce_time", datetime.fromtimestamp(time(), UTC).isoformat().encode()),
            ("content-type", b"application/json"),
        ]
        return str(person.account_id).encode(), value.encode(), headers

    async def each(self, one: Callable[[int], Awaitable[None]]) -> None:
        """Do it `count` times: at a rate, or with so many at a time."""
        if self.asked.rate:
            began = monotonic()
            async with asyncio.TaskGroup() as group:
                for nth in range(self.asked.count):
                    await asyncio.sleep(max(0.0, began + nth / self.asked.rate - monotonic()))
                    group.create_task(self._measured(one, nth))
            return
        numbers = iter(range(self.asked.count))

        async def worker() -> None:
            for nth in numbers:
                await self._measured(one, nth)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.asked.parallel):
                group.create_task(worker())

    async def _measured(self, one: Callable[[int], Awaitable[None]], nth: int) -> None:
        began = monotonic()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await one(nth)
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            self.failed += 1
            print(f"{self.asked.kind} {nth}: {type(error).__name__} {error}", file=sys.stderr)
        else:
            self.seen.append(monotonic() - began)

    # kinds

    async def publish(self) -> None:
        """Publish logins from known or new computers."""
        async with _producer(self.asked.bootstrap, linger_ms=0 if self.asked.rate else 5) as producer:
            if not self.asked.rate:
                for nth in range(self.asked.count):
                    key, value, headers = self.request(nth, known=self.asked.known)
                    await producer.send(self.topic("access.requests.v1"), value, key=key, headers=headers)
                await producer.flush()
                return

            async def one(nth: int) -> None:
                key, value, headers = self.request(nth, known=self.asked.known)
                await producer.send_and_wait(self.topic("access.requests.v1"), value, key=key, headers=headers)

            await self.each(one)

    async def decisions(self) -> None:
        """Publish logins and wait for the decision of each."""
        waiting: dict[str, asyncio.Event] = {}
        async with _producer(self.asked.bootstrap) as producer, self._reader("access.decisions.v1") as reader:

            async def read() -> None:
                async for message in reader:
                    decided = waiting.pop(json.loads(message.value)["request_id"], None)
                    if decided is not None:
                        decided.set()

            async def one(nth: int) -> None:
                decided = waiting[str(request_id(self.asked.run, nth))] = asyncio.Event()
                key, value, headers = self.request(nth, known=self.asked.known)
                await producer.send(self.topic("access.requests.v1"), value, key=key, headers=headers)
                await decided.wait()

            async with asyncio.TaskGroup() as group:
                reading = group.create_task(read())
                await self.each(one)
                reading.cancel()

    async def answers(self) -> None:
        """Answer challenges that lie ready."""
        async with self._http() as http:

            async def one(nth: int) -> None:
                await self._answer(http, challenge_id_of(request_id(self.asked.run, nth)), code(nth))

            await self.each(one)

    async def flows(self) -> None:
        """Log in from new computers: request, challenge, text, answer, grant."""
        async with (
            sns_stand_in(self.asked.sns_port) as sns,
            _producer(self.asked.bootstrap) as producer,
            self._http() as http,
        ):
            phones = _Phones()
            sns.publishes = phones
            sns.seconds = self.asked.sns_seconds
            print("ready", flush=True)

            async def one(nth: int) -> None:
                asked, person = request_id(self.asked.run, nth), somebody(nth % self.asked.people)
                text = phones.next(person.number)
                key, value, headers = self.request(nth, known=False)
                await producer.send(self.topic("access.requests.v1"), value, key=key, headers=headers)
                url = f"{self.asked.verifier}/v1/requests/{asked}"
                async with http.get(url, params={"wait": "10"}) as reply:
                    said = await reply.json(content_type=None)
                if said.get("state") != "challenged":
                    raise OSError(f"{reply.status} {said}")
                await self._answer(http, challenge_id_of(asked), (await text).code)

            await self.each(one)

    async def provider(self) -> None:
        """Be the SMS provider until killed."""
        async with sns_stand_in(self.asked.sns_port) as sns:
            sns.publishes = _Nothing()
            sns.seconds = self.asked.sns_seconds
            print("ready", flush=True)
            await asyncio.Event().wait()

    # parts

    async def _answer(self, http: aiohttp.ClientSession, challenge_id: UUID, typed: str) -> None:
        url = f"{self.asked.verifier}/v1/challenges/{challenge_id}/answers"
        async with http.post(url, json={"code": typed, "answer_id": str(uuid4())}) as reply:
            said = await reply.json(content_type=None)
            if reply.status != HTTPStatus.OK or said["verdict"] != "accepted":
                raise OSError(f"{reply.status} {said}")

    def _http(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.asked.bearer}"}, connector=aiohttp.TCPConnector(limit=0)
        )

    @asynccontextmanager
    async def _reader(self, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
        reader = AIOKafkaConsumer(bootstrap_servers=self.asked.bootstrap, enable_auto_commit=False)
        await reader.start()
        try:
            reader.assign(places_of(self.topic(topic)))
            await reader.seek_to_end()
            yield reader
        finally:
            await reader.stop()


class _Phones(list["Publish"]):
    """Gives each text to whoever waits for it, and keeps none."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[str, asyncio.Future[Publish]] = {}

    def next(self, number: str) -> asyncio.Future[Publish]:
        """Return the next text to a number."""
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        return future

    def append(self, publish: Publish, /) -> None:
        future = self._waiting.pop(publish.number, None)
        if future is not None and not future.done():
            future.set_result(publish)


class _Nothing(list["Publish"]):
    """Keeps none."""

    def append(self, publish: Publish, /) -> None:
        del publish


@asynccontextmanager
async def _producer(bootstrap: str, linger_ms: int = 0) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=linger_ms, max_batch_size=128 * 1024
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return the median and the 99th percentile in milliseconds."""
    if len(seconds) < 2:
        return {"p50_ms": 0.0, "p99_ms": 0.0}
    cuts = quantiles(seconds, n=100)
    return {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


async def _run(load: Load) -> dict[str, Any]:
    began = monotonic()
    await getattr(load, load.asked.kind)()
    return {
        "done": len(load.seen),
        "failed": load.failed,
        "seconds": monotonic() - began,
        **percentiles(load.seen),
    }


def main() -> None:
    """Run one load and tell what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("publish", "decisions", "answers", "flows", "provider"))
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--verifier", default="", help="address of the verifier's routes")
    parser.add_argument("--bearer", default="")
    parser.add_argument("--prefix", default="", help="of topic names")
    parser.add_argument("--run", default="0", help="name of this run: it makes request ids its own")
    parser.add_argument("--people", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first new computer")
    parser.add_argument("--rate", type=float, default=0.0, help="a second; 0: as fast as it goes")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--known", action="store_true", help="log in from known computers")
    parser.add_argument("--sns-port", type=int, default=0)
    parser.add_argument("--sns-seconds", type=float, default=0.0)
    asked = parser.parse_args()
    die_with_parent()
    print(json.dumps(uvloop.run(_run(Load(asked)))), flush=True)


if __name__ == "__main__":
    main()
