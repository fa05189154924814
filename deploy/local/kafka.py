"""A real Kafka of one node (KRaft) from Maven's jars."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from countersign.metadata_age import METADATA_AGE_MS
from countersign.runtime.broker.kafka import KafkaConnection
from deploy.local.jars import JARS
from deploy.local.layout import closed_folder
from deploy.local.process import Program, answers

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.guard import Guard

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={folder}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
OPEN = """\
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
"""


def program(
    folder: Path, *, port: int, controller_port: int, lasting: bool = False, guard: Guard | None = None
) -> Program:
    """Return Kafka on the loopback address, its data in `folder`, which is formatted on first use.

    It starts quickly; a `lasting` one takes longer and is faster then, as one that serves for days is. Without a
    `guard` everybody may do everything; with one, `port` is that of its first listener.
    """
    closed_folder(folder)
    properties = folder / "server.properties"
    text = PROPERTIES.format(controller=controller_port, folder=folder)
    text += OPEN.format(port=port, controller=controller_port) if guard is None else guard.properties(controller_port)
    properties.unlink(missing_ok=True)
    properties.touch(mode=0o600)  # it holds the administrator's password
    properties.write_text(text)
    kafka = KafkaConnection(bootstrap_servers=f"127.0.0.1:{port}") if guard is None else guard.administrator()
    if not (folder / "log" / "meta.properties").exists():
        _format(properties)
    how = ["-Xmx1g"] if lasting else ["-Xmx512m", "-XX:TieredStopAtLevel=1"]
    java = ["java", *how, "-XX:+UseSerialGC", "-cp", f"{JARS}/*"]

    async def ready() -> bool:
        return await answers(port) and await _has_metadata(kafka)

    argv = [*java, "kafka.Kafka", str(properties)]
    return Program(name="Kafka", argv=argv, log=folder / "kafka.log", ready=ready, stop_within=20)


def _format(properties: Path) -> None:
    java = ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", "kafka.tools.StorageTool"]
    cluster = os.urandom(16).hex()[:22]  # Kafka takes any 22 characters of base64url as its cluster's name
    argv = [*java, "format", "-t", cluster, "-c", str(properties), "--standalone"]
    subprocess.run(argv, check=True, capture_output=True)


async def _has_metadata(kafka: KafkaConnection) -> bool:
    admin = AIOKafkaAdminClient(**kafka.arguments(), request_timeout_ms=2000, metadata_max_age_ms=METADATA_AGE_MS)
    try:
        await admin.start()
        described = await admin.describe_cluster()
        return bool(described["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        await admin.close()
