"""Logged in as each principal, on a real broker: what its rows do not say is refused by the broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from countersign.operations.kafka_users import set_passwords
from countersign.operations.rights import (
    Operation,
    Resource,
    Right,
    add_rights,
    compare_rights,
    wanted_rights,
)
from countersign.runtime.broker.kafka_refusal import refusal_of
from deploy.local.principals import PRINCIPALS, local_rights
from deploy.local.topics import make_topics
from tests.support.kafka import eventually, publish_raw

if TYPE_CHECKING:
    from countersign.runtime.broker.kafka import KafkaConnection
    from tests.support.guarded_kafka import GuardedKafka

pytestmark = pytest.mark.servers

# Who writes and who reads, as the design says it; the topics' files say the same, or this fails.
TABLE = {
    "access.requests.v1": ({"gateway", "exports", "enrolment", "test"}, {"risk_evaluator"}),
    "access.assessments.v1": ({"risk_evaluator"}, {"verifier", "risk_evaluator"}),
    "access.challenges.v1": ({"verifier"}, {"notifier"}),
    "access.decisions.v1": ({"verifier"}, {"exports", "enrolment", "risk_evaluator", "notifier"}),
    "sms.deliveries.v1": ({"notifier"}, {"verifier"}),
    "account.members.v1": ({"gateway", "test"}, {"enrolment", "gateway"}),
    "account.settings.v1": ({"enrolment"}, {"risk_evaluator", "notifier", "gateway", "enrolment"}),
}
READ_EVERYTHING = {"operator", "test"}


def password_of(principal: str) -> str:
    return f"the password of {principal}"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def laid(broker: GuardedKafka) -> GuardedKafka:
    """Lay topics with a record each, users and rights."""
    administrator = broker.guard.administrator()
    await make_topics(administrator)
    for topic in TABLE:
        await publish_raw(administrator, topic, b"key", b"{}")
    await set_passwords(administrator, {name: password_of(name) for name in PRINCIPALS})
    await add_rights(administrator, local_rights())
    for name in PRINCIPALS:
        await eventually(lambda name=name: _let_in(broker, name))
    return broker


async def _let_in(broker: GuardedKafka, principal: str) -> bool:
    return await refusal_of(as_principal(broker, principal)) is None


def as_principal(broker: GuardedKafka, principal: str) -> KafkaConnection:
    return broker.guard.connection(principal, password_of(principal))


async def may_write(kafka: KafkaConnection, topic: str) -> bool:
    """Write a record as our own producer would."""
    producer = AIOKafkaProducer(**kafka.arguments(), enable_idempotence=True, request_timeout_ms=20_000)
    try:
        async with asyncio.timeout(30):
            await producer.start()
            await producer.send_and_wait(topic, b"{}", key=b"key")
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return False
    finally:
        await producer.stop()
    return True


async def may_read(kafka: KafkaConnection, topic: str, group: str | None = None) -> bool:
    """Read a record, as a member of a group if one is named."""
    consumer = AIOKafkaConsumer(
        topic, **kafka.arguments(), group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        async with asyncio.timeout(30):
            await consumer.start()
            record = await consumer.getone()
            if group is not None:
                await consumer.commit()
    except (TopicAuthorizationFailedError, GroupAuthorizationFailedError):
        return False
    finally:
        await consumer.stop()
    return bool(record.topic == topic)


def test_the_table_has_every_topic_and_every_principal() -> None:
    """So that nothing is left untried."""
    assert {right.name for right in local_rights() if right.resource == Resource.TOPIC} == set(TABLE)
    named = {name for writers, readers in TABLE.values() for name in writers | readers}
    assert named | READ_EVERYTHING == set(PRINCIPALS)


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_each_principal_tries_to_write_every_topic(laid: GuardedKafka, principal: str) -> None:
    """A forged decision, assessment or challenge by anybody but the owner is refused by the broker."""
    kafka = as_principal(laid, principal)
    written = {topic for topic in TABLE if await may_write(kafka, topic)}
    assert written == {topic for topic, (writers, _) in TABLE.items() if principal in writers}


@pytest.mark.parametrize("principal", PRINCIPALS)
async def test_each_principal_tries_to_read_every_topic(laid: GuardedKafka, principal: str) -> None:
    """Without a group, which asks for no more than the right to the topic."""
    kafka = as_principal(laid, principal)
    read = {topic for topic in TABLE if await may_read(kafka, topic)}
    assert read == {topic for topic, (_, readers) in TABLE.items() if principal in readers | READ_EVERYTHING}


@pytest.mark.parametrize(
    ("principal", "group", "allowed"),
    [
        ("verifier", "countersign.verifier", True),
        ("verifier", "countersign.verifier.replay", True),
        ("verifier", "countersign.notifier", False),
        ("verifier", "anything", False),
        ("test", "anything", True),
        ("test", "countersign.verifier", False),
        ("operator", "countersign.verifier", True),
        ("operator", "anything", False),
    ],
)
async def test_a_group_is_its_services_own(laid: GuardedKafka, principal: str, group: str, allowed: bool) -> None:
    """A member of another's group would take its partitions away."""
    assert await may_read(as_principal(laid, principal), "access.assessments.v1", group) is allowed


async def test_the_test_principal_sees_how_far_groups_are(laid: GuardedKafka) -> None:
    """Which is what `countersign lag` needs; it may join none of them."""
    admin = AIOKafkaAdminClient(**as_principal(laid, "test").arguments())
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups(["countersign.verifier"])
        assert [group[0] for group in answer.groups] == [0]
        await admin.list_consumer_group_offsets("countersign.verifier")
    finally:
        await admin.close()


async def test_missing_rights_are_found_and_others_reported(laid: GuardedKafka) -> None:
    """After they were laid nothing is missing; a right that somebody gave beyond them is told and stays."""
    administrator = laid.guard.administrator()
    none = await compare_rights(administrator, local_rights())
    assert none.missing == ()
    assert none.beyond == ()
    too_much = Right("exports", Operation.DESCRIBE, Resource.TOPIC, "sms.deliveries.v1")
    new = Right("exports", Operation.DESCRIBE, Resource.TOPIC, "access.requests.v1")
    await add_rights(administrator, [too_much])
    await eventually(lambda: _beyond(administrator, (too_much,)))
    assert (await compare_rights(administrator, {*local_rights(), new, too_much})).missing == (new,)
    assert str(too_much) == "exports may describe the topic sms.deliveries.v1"


async def _beyond(administrator: KafkaConnection, rights: tuple[Right, ...]) -> bool:
    return (await compare_rights(administrator, local_rights())).beyond == rights


async def test_nobody_but_the_administrator_changes_rights(laid: GuardedKafka) -> None:
    """Not even the command line's principal, which may look at them."""
    operator = as_principal(laid, "operator")
    assert (await compare_rights(operator, local_rights())).missing == ()
    with pytest.raises(ClusterAuthorizationFailedError):
        await add_rights(operator, [Right("operator", Operation.WRITE, Resource.TOPIC, "access.decisions.v1")])


def test_only_the_verifier_may_write_decisions() -> None:
    """Said once more of the rights themselves, whatever they are for."""
    may = {
        right.principal
        for right in wanted_rights()
        if right.name == "access.decisions.v1" and right.operation in {Operation.WRITE, Operation.ALL}
    }
    assert may == {"verifier"}
