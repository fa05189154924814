"""Topics as `schemas/topics/*.yaml` describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from countersign.metadata_age import METADATA_AGE_MS
from deploy.local.checkout import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from countersign.runtime.kafka import KafkaConnection

_FILES = CHECKOUT / "schemas" / "topics"


@dataclass(frozen=True, slots=True)
class Topic:
    """What the broker is told of a topic's file."""

    name: str
    partitions: int
    config: Mapping[str, str]


def topics() -> list[Topic]:
    """Return all topics, in the order of their files."""
    described = [yaml.safe_load(file.read_text()) for file in sorted(_FILES.glob("*.yaml"))]
    return [Topic(one["topic"], one["partitions"], one["config"]) for one in described]


async def make_topics(kafka: KafkaConnection) -> list[str]:
    """Make the topics that are not there yet, and return their names."""
    admin = AIOKafkaAdminClient(**kafka.arguments(), request_timeout_ms=20_000, metadata_max_age_ms=METADATA_AGE_MS)
    await admin.start()
    try:
        missing = [NewTopic(t.name, t.partitions, 1, topic_configs=dict(t.config)) for t in topics()]
        answer = await admin.create_topics(missing, timeout_ms=10_000)
    finally:
        await admin.close()
    outcomes = {name: for_code(code) for name, code, *_ in answer.topic_errors}
    for name, outcome in outcomes.items():
        if outcome.errno not in {0, TopicAlreadyExistsError.errno}:
            raise outcome(f"topic {name}")
    return [name for name, outcome in outcomes.items() if outcome.errno == 0]
