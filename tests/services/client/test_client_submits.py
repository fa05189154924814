"""Submitting access requests to a real Kafka."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from countersign.client import AccessRequests, Client, KafkaAway, ProducerSettings, login_authorised
from countersign.contract import AccessRequested, reader
from tests.support.kafka import eventually, read_topic

if TYPE_CHECKING:
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


async def test_after_a_failure_the_next_submission_uses_a_new_producer(servers: Servers) -> None:
    """A closed producer stands for one that is dead for good (aiokafka #1017)."""
    async with AccessRequests("gateway", ProducerSettings(bootstrap_servers=servers.kafka)) as requests:
        built = requests.build("login", uuid4(), uuid4(), Client(), {})
        await requests.submit(built)
        assert requests._producer is not None  # noqa: SLF001 - there is no public way to break it
        await requests._producer.stop()  # noqa: SLF001
        with pytest.raises(KafkaAway, match="did not take the access request"):
            await requests.submit(built)
        await requests.submit(built)

        async def there() -> bool:
            return len(await arrived(servers, built.request_id)) >= 2

        await eventually(there)
