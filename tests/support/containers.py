"""The three servers in containers. Untried where this was written: no image could be pulled there."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from deploy.local.process import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

_PASSWORD = "for-tests-only"
IMAGES = {"kafka": "apache/kafka:4.3.1", "postgres": "postgres:18", "sns": "motoserver/moto:5.2.5"}


@contextmanager
def containers() -> Iterator[tuple[str, str, str]]:
    """Start Kafka, PostgreSQL and moto, and return their addresses as the environment would name them."""
    with ExitStack() as stack:
        (port,) = free_ports(1)  # a broker tells its clients its port, so it must be known before the start
        kafka = stack.enter_context(_kafka(port))
        wait_for_logs(kafka, "Kafka Server started", timeout=60)
        postgres = stack.enter_context(_postgres())
        wait_for_logs(postgres, "listening on IPv4 address", timeout=60)
        sns = stack.enter_context(DockerContainer(IMAGES["sns"]).with_exposed_ports(5000))
        wait_for_logs(sns, "Running on", timeout=60)
        database = f"{postgres.get_container_host_ip()}:{postgres.get_exposed_port(5432)}"
        yield (
            f"127.0.0.1:{port}",
            f"postgresql://postgres:{_PASSWORD}@{database}/countersign",
            f"http://{sns.get_container_host_ip()}:{sns.get_exposed_port(5000)}",
        )


def _kafka(port: int) -> DockerContainer:
    settings = {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{port},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(IMAGES["kafka"]).with_bind_ports(port, port)
    for name, value in settings.items():
        container = container.with_env(name, value)
    return container


def _postgres() -> DockerContainer:
    container = DockerContainer(IMAGES["postgres"]).with_exposed_ports(5432)
    return container.with_env("POSTGRES_PASSWORD", _PASSWORD).with_env("POSTGRES_DB", "countersign")
