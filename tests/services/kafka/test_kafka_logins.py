"""Every way of logging in, on a real broker: producer, consumer, administrator, and a whole service."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from countersign.operations.kafka_users import set_passwords
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.broker.kafka_refusal import refusal_of
from countersign.runtime.program.service import serving
from countersign.runtime.settings import KafkaSettings
from tests.support.guarded_kafka import MECHANISMS, unsigned_token
from tests.support.kafka import eventually, publish, read_topic
from tests.support.toy import a_toy, decoded

if TYPE_CHECKING:
    from tests.support.guarded_kafka import GuardedKafka
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

CAROL, CAROLS_PASSWORD = "carol", "carol's"


async def administrators_token() -> str:
    return unsigned_token("admin", 600)


def administrator(broker: GuardedKafka, mechanism: str) -> KafkaConnection:
    if mechanism != "OAUTHBEARER":
        return broker.guard.connection("admin", "for-tests-only", mechanism=mechanism)
    return broker.by_token(f"{__name__}:administrators_token")


async def written_and_read(kafka: KafkaConnection) -> bytes:
    """Make a topic, write a record, read it back; each with a client of its own."""
    topic, arguments = f"login-{uuid4().hex[:8]}", kafka.arguments()
    admin = AIOKafkaAdminClient(**arguments)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(**arguments, enable_idempotence=True)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"hello")
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(topic, **arguments, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return bytes((await consumer.getone()).value)
    finally:
        await consumer.stop()


@pytest.mark.parametrize("mechanism", MECHANISMS)
async def test_records_go_through_each_log_in_over_tls(broker: GuardedKafka, mechanism: str) -> None:
    """By password, salted or not, and by token."""
    if mechanism.startswith("SCRAM"):
        await set_passwords(broker.guard.administrator(), {"admin": "for-tests-only"}, mechanism)
    kafka = administrator(broker, mechanism)
    assert await refusal_of(kafka) is None
    assert await written_and_read(kafka) == b"hello"


async def test_a_certificate_is_a_log_in_too(broker: GuardedKafka) -> None:
    """The broker knows us by it; without any rights we are let in and see no topic."""
    kafka = KafkaConnection(
        bootstrap_servers=f"127.0.0.1:{broker.mutual.port}",
        security_protocol="SSL",
        ca=broker.certificates.ca,
        certificate=broker.certificates.client,
    )
    assert await refusal_of(kafka) is None
    admin = AIOKafkaAdminClient(**kafka.arguments())
    await admin.start()
    try:
        assert await admin.list_topics() == []
    finally:
        await admin.close()


async def test_a_new_password_counts_from_then_on(broker: GuardedKafka) -> None:
    """The old one does not open any more."""
    administrator = broker.guard.administrator()
    await set_passwords(administrator, {CAROL: "the first one"})
    await set_passwords(administrator, {CAROL: CAROLS_PASSWORD})
    await eventually(lambda: _let_in(broker, CAROLS_PASSWORD))
    assert not await _let_in(broker, "the first one")


async def _let_in(broker: GuardedKafka, password: str) -> bool:
    return await refusal_of(broker.guard.connection(CAROL, password)) is None


async def test_a_service_works_over_tls_with_a_log_in(broker: GuardedKafka, servers: Servers) -> None:
    """Its consumer, its producer and its look at the group: records are folded, answered, and it is ready."""
    open_address = f"127.0.0.1:{broker.open.port}"
    toy = await a_toy(replace(servers, kafka=open_address))
    kafka = KafkaSettings.like(broker.guard.administrator(), session_timeout_ms=6000)
    settings = toy.settings().model_copy(update={"kafka": kafka})
    async with serving(toy.service(), settings, log=structlog.get_logger()) as machine:
        await publish(open_address, toy.added(), toy.added())
        await eventually(lambda: _told(open_address, toy.out, 2))
        await eventually(lambda: _ready(machine.health))
    assert {decoded(record)["amount"] for record in await read_topic(open_address, toy.out)} == {1}


async def _told(address: str, topic: str, count: int) -> bool:
    return len(await read_topic(address, topic)) == count


async def _ready(health: object) -> bool:
    return not health.reasons  # type: ignore[attr-defined]
