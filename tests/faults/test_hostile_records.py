"""Records that somebody made in order to stop a service: each is read or becomes a dead letter, and nobody waits."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from countersign.contract import AccessRequested, PlacesForgotten, reader
from countersign.runtime.errors import OffContractError
from deploy.local.topics import topics
from tests.support.events import a_places_forgotten, an_access_requested, incoming
from tests.support.frame import running
from tests.support.hostile import NotUtf8
from tests.support.kafka import eventually, publish, publish_raw, read_topic
from tests.support.toy import Toy, a_toy

if TYPE_CHECKING:
    from tests.support.servers import Servers

TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def toy(servers: Servers) -> Toy:
    return await a_toy(servers)


@pytest.mark.servers
@pytest.mark.parametrize("name", ["ce_type", "content-type", "traceparent", "x-anything"])
async def test_a_header_without_a_value_stops_nobody(toy: Toy, name: str) -> None:
    """Kafka allows a header's value to be null; the record behind it is folded all the same."""
    good = toy.added(account="same")
    bare = [pair for pair in good.headers if pair[0] != name]
    await publish_raw(toy.servers.kafka, toy.topic, b"same", b"{}", [*bare, (name, None)])  # type: ignore[list-item]
    await publish(toy.servers.kafka, good)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "addition", 1))
        await eventually(lambda: _counted(toy, "dead_letter", 1))


@pytest.mark.servers
async def test_headers_without_end_are_a_dead_letter_that_can_be_taken_up_again(toy: Toy) -> None:
    """100 KB of headers on a record whose key is missing; the one beside it, which waits for a key too, gets it."""
    waits = toy.added(account="same", trouble="key")
    swollen = toy.added(account="same", trouble="key")
    swollen = dataclasses.replace(swollen, headers=(*swollen.headers, ("x", b"x" * 50_000), ("y", b"y" * 50_000)))
    async with running(toy.service(), toy.settings()):
        await publish(toy.servers.kafka, swollen, waits)
        await eventually(lambda: _counted(toy, "dead_letter", 2))
        await toy.fetch("UPDATE dead_letter SET state = 'redrive' RETURNING 1")
        toy.fold.keys_held.add("k1")
        await eventually(lambda: _counted(toy, "addition", 1), within=15)
    letter = (await toy.fetch("SELECT kind, cause FROM dead_letter WHERE kind = 'off_contract'"))[0]
    assert letter["cause"].startswith("headers and key: at most 65536 bytes are read; came ")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (TRACEPARENT, TRACEPARENT.decode()),
        (TRACEPARENT + b"-from-the-future", TRACEPARENT.decode()),
        (b"00-\x00\x00", None),
        (TRACEPARENT[:-2] + b"\x00\n", None),
        (b"\xff\xfe", None),
        (b"", None),
        (b"00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01", None),
    ],
)
def test_a_trace_is_taken_only_in_its_form(given: bytes, taken: str | None) -> None:
    """W3C Trace Context, section 3.2: anything else would reach a column and the next topic as it came."""
    record = incoming(an_access_requested()).record
    headers = (*(pair for pair in record.headers if pair[0] != "traceparent"), ("traceparent", given))
    found = reader(AccessRequested)(dataclasses.replace(record, headers=headers))
    assert found is not None
    assert found.traceparent == taken


@pytest.mark.parametrize("place", ["10.0.0.1/8", "1.2.3.4/99", "999.1.1.1/32", "::1::/64", "1:2/64"])
def test_a_place_that_is_no_network_is_off_contract(place: str) -> None:
    """It would otherwise be found out by the database, as a bug of ours, and brake the partition."""
    record = incoming(a_places_forgotten()).record
    value = (record.value or b"").replace(b'"place":null', f'"place":"{place}"'.encode())
    assert place.encode() in value
    with pytest.raises(OffContractError, match="place"):
        reader(PlacesForgotten)(dataclasses.replace(record, value=value))


async def _counted(toy: Toy, table: str, count: int) -> bool:
    return await toy.count(table) == count


@pytest.mark.servers
async def test_brokers_unpack_before_we_do(servers: Servers) -> None:
    """On a topic as its file describes it, a packed batch is judged by its real size, and any producer may pack."""
    described = next(topic for topic in topics() if topic.name == AccessRequested.topic)
    topic = f"unpacked.{uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=dict(described.config))])
    await admin.close()
    big = 4_000_000
    producer = AIOKafkaProducer(
        bootstrap_servers=servers.kafka, compression_type="gzip", max_request_size=2 * big, max_batch_size=2 * big
    )
    await producer.start()
    try:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.send_and_wait(topic, bytes(big))
        await producer.send_and_wait(topic, b"packed" * 100)
    finally:
        await producer.stop()
    assert [record.value for record in await read_topic(servers.kafka, topic)] == [b"packed" * 100]


@pytest.mark.servers
async def test_a_header_whose_name_is_no_text_stops_nobody(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """No broker looks at it, and aiokafka cannot take such a record apart: everything around it is folded once."""
    before = [toy.added(account=str(n)) for n in range(40)]
    behind = [toy.added(account=str(n)) for n in range(40)]
    hostile = [toy.added(account=str(n)) for n in range(3)]
    await publish(toy.servers.kafka, *before)
    with monkeypatch.context() as patched:
        for module in (message_accumulator, producer_module):
            patched.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
        for record in hostile:
            headers = [*record.headers, (NotUtf8("x"), b"1")]
            await publish_raw(toy.servers.kafka, toy.topic, record.key, record.value, headers)
    await publish(toy.servers.kafka, *behind)
    async with running(toy.service(), toy.settings()):
        await eventually(lambda: _counted(toy, "addition", 80), within=60)
        await eventually(lambda: _counted(toy, "dead_letter", 3), within=60)
        more = toy.added()
        await publish(toy.servers.kafka, more)
        await eventually(lambda: _counted(toy, "addition", 81), within=30)
    causes = {row["cause"] for row in await toy.fetch("SELECT cause FROM dead_letter")}
    assert causes == {"header: a name that is not UTF-8; the record lies on the topic, and cannot be kept here"}
