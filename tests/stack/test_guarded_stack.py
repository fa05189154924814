"""The stack's Kafka: everybody logs in, over TLS if it was started so, and the broker refuses what no row allows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from countersign.cli import main
from countersign.runtime.broker.kafka import KafkaConnection
from countersign.runtime.broker.kafka_refusal import refusal_of
from deploy.local.layout import SERVICES
from deploy.local.principals import passwords_of
from deploy.local.topics import topics
from tests.support.kafka import publish_raw, read_topic

if TYPE_CHECKING:
    from tests.support.stack import RunningStack

WRITTEN_BY_THE_GATEWAY = {"access.requests.v1", "account.members.v1"}


def connection(stack: RunningStack, principal: str) -> KafkaConnection:
    """Return how a service connects: by its settings, and the password in its own secrets file."""
    held = json.loads((stack.layout.secrets / f"{principal}.json").read_text())
    as_test = KafkaConnection.named(stack.env)
    return KafkaConnection.like(as_test, sasl_username=principal, sasl_password=held["kafka"]["sasl_password"])


@pytest.mark.parametrize("principal", ["test", "gateway"])
async def test_who_asks_writes_requests_and_members_and_nothing_else(stack: RunningStack, principal: str) -> None:
    """A forged decision, assessment, challenge, delivery or setting never gets onto its topic."""
    kafka = KafkaConnection.named(stack.env) if principal == "test" else connection(stack, principal)
    for topic in topics():
        if topic.name in WRITTEN_BY_THE_GATEWAY:
            continue
        with pytest.raises(TopicAuthorizationFailedError):
            await publish_raw(kafka, topic.name, b"key", b"forged")
    for topic in topics():
        assert not [
            one for one in await read_topic(KafkaConnection.named(stack.env), topic.name) if one.value == b"forged"
        ]


@pytest.mark.parametrize("service", SERVICES)
async def test_each_service_has_a_log_in_of_its_own(stack: RunningStack, service: str) -> None:
    """Its password opens nothing under another name."""
    assert await refusal_of(connection(stack, service)) is None
    others = next(name for name in SERVICES if name != service)
    said = await refusal_of(KafkaConnection.like(connection(stack, service), sasl_username=others))
    assert said is not None
    assert f"does not accept {others} with this password" in said


async def test_nobody_gets_in_without_tls_or_a_log_in(stack: RunningStack) -> None:
    """Neither to the port of clients nor to the controller's."""
    said = await refusal_of(KafkaConnection(bootstrap_servers=stack.env["KAFKA_BOOTSTRAP_SERVERS"]))
    assert said is not None
    assert "speaks TLS there" in said
    controller = f"127.0.0.1:{stack.layout.port('kafka controller')}"
    said = await refusal_of(KafkaConnection(bootstrap_servers=controller))
    assert said is not None
    assert "wants a log-in" in said


async def test_each_password_is_in_its_services_file_alone(stack: RunningStack) -> None:
    """And none is what another one has."""
    passwords = passwords_of(stack.layout)
    assert len(set(passwords.values())) == len(passwords)
    for service in SERVICES:
        text = (stack.layout.secrets / f"{service}.json").read_text()
        assert [name for name, password in passwords.items() if password in text] == [service]


def test_services_do_their_work_with_their_rights(stack: RunningStack) -> None:
    """No log speaks of a right that is missing."""
    for service in SERVICES:
        log = (stack.layout.logs / f"{service}.log").read_text()
        assert "service_started" in log
        assert "AuthorizationFailed" not in log


def test_the_command_line_takes_all_from_stack_env(
    stack: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every group of the stack has a member, and the command line may see it."""
    monkeypatch.setenv("DATA", str(stack.layout.data))
    assert main(["lag", "--json", "--seconds-max", "600"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["group"].removeprefix("countersign.") for row in rows} == set(SERVICES)
    assert {row["members"] for row in rows} == {1}
