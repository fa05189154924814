"""Submitting access requests to a real Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.client import AccessRequests, Client, KafkaAwayError, ProducerSettings, login_authorised
from countersign.contract import AccessRequested, reader
from tests.support.kafka import eventually, read_topic
from tests.support.odd_topics import a_topic, held_open, silent_topics

if TYPE_CHECKING:
    from uuid import UUID

    from countersign.runtime.messages.record import Incoming
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

parse = reader(AccessRequested)


async def arrived(servers: Servers, request_id: object) -> list[Incoming[AccessRequested]]:
    records = await read_topic(servers.kafka, AccessRequested.topic)
    found = [parse(record) for record in records if str(request_id).encode() in (record.value or b"")]
    return [incoming for incoming in found if incoming is not None]


async def test_a_submitted_request_is_there_when_submit_returns(servers: Servers) -> None:
    """Acknowledged by all in-sync replicas, readable by the contract, keyed by account."""
    request_id, account_id, user_id = uuid4(), uuid4(), uuid4()
    async with AccessRequests("gateway", ProducerSettings(bootstrap_servers=servers.kafka)) as requests:
        authorised = login_authorised(request_id, user_id, "secret")
        client = Client(ip="203.0.113.7")
        built = requests.build("login", account_id, user_id, client, authorised, request_id=request_id)
        await requests.submit(built, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
        (incoming,) = await arrived(servers, request_id)
        await requests.submit(built)
    assert incoming.event == built.event
    assert incoming.record.key == str(account_id).encode()
    assert incoming.traceparent is not None
    first, second = await arrived(servers, request_id)
    assert first.ce_id == second.ce_id  # twice is the same request
    assert second.traceparent == f"00-{request_id.hex}-{request_id.hex[16:]}-01"  # none was given: it begins its own


async def test_a_submission_that_meets_a_dead_producer_is_sent_by_another(servers: Servers) -> None:
    """A closed producer stands for one that is dead for good (aiokafka #1017); nobody waits for a next submission."""
    async with AccessRequests("gateway", ProducerSettings(bootstrap_servers=servers.kafka)) as requests:
        built = requests.build("login", uuid4(), uuid4(), Client(), {})
        await requests.submit(built)
        assert requests._producing is not None  # noqa: SLF001 - there is no public way to break it
        held = requests._producing._current  # noqa: SLF001
        assert held is not None
        await held.producer.stop(1)
        await requests.submit(built)
        assert requests._producing.made == 2  # noqa: SLF001

        async def there() -> bool:
            return len(await arrived(servers, built.request_id)) >= 2

        await eventually(there)


async def test_failed_submissions_leave_those_beside_them_alone(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty are not acknowledged in time, one after the other; thirty others, to a topic that is well, all arrive."""
    silent_topics(monkeypatch).add(dead := await a_topic(servers.kafka))
    well = await a_topic(servers.kafka)
    topics: dict[UUID, str] = {}
    async with AccessRequests(
        "gateway", ProducerSettings(bootstrap_servers=servers.kafka, submit_seconds=3)
    ) as requests:
        ordinary = requests.record
        requests.record = lambda built, *rest: replace(ordinary(built, *rest), topic=topics[built.request_id])  # type: ignore[method-assign]

        async def submit(topic: str, after: float) -> None:
            built = requests.build("login", uuid4(), uuid4(), Client(), {})
            topics[built.request_id] = topic
            await asyncio.sleep(after)
            await requests.submit(built)

        doomed = [submit(dead, number * 0.05) for number in range(20)]
        others = [submit(well, 3 + number * 0.03) for number in range(30)]
        ends = await asyncio.gather(*doomed, *others, return_exceptions=True)
    assert all(isinstance(end, KafkaAwayError) for end in ends[:20])
    assert [end for end in ends[20:] if end is not None] == []


async def test_fifty_hiccups_leave_nothing_open(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty submissions are not acknowledged in time: one producer all the while, and at the end none."""
    silent_topics(monkeypatch).add(topic := await a_topic(servers.kafka))
    settings = ProducerSettings(bootstrap_servers=servers.kafka, submit_seconds=0.2)
    before = held_open()
    async with AccessRequests("gateway", settings) as requests:
        ordinary = requests.record
        requests.record = lambda *of: replace(ordinary(*of), topic=topic)  # type: ignore[method-assign]
        for _ in range(50):
            with pytest.raises(KafkaAwayError):
                await requests.submit(requests.build("login", uuid4(), uuid4(), Client(), {}))
        sockets, tasks = (now - then for now, then in zip(held_open(), before, strict=True))
        assert sockets <= 3
        assert tasks <= 12
    assert all(now <= then for now, then in zip(held_open(), before, strict=True))
