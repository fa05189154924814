"""The reviewed file of each topic: who writes and reads it, its key, its events, how Kafka keeps it.

In a checkout the files are `schemas/topics/`; a wheel carries the same folder inside the package.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from countersign.runtime.messages.findings import findings

Service = Literal["gateway", "risk_evaluator", "verifier", "notifier", "enrolment", "exports"]
_Sentence = Annotated[str, StringConstraints(min_length=10)]
_PACKAGE = Path(__file__).resolve().parents[1]


class TopicFile(BaseModel):
    """One file of `schemas/topics`; topics are created from it and from nothing else.

    `readers` fold the topic, each in its own group; `checked_by` read it from its start now and then, without a group.
    `config` holds Kafka's topic settings as Kafka names them. The replication factor is the deployment's business.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    topic: Annotated[str, StringConstraints(pattern=r"^[a-z]+\.[a-z]+\.v[0-9]+$")]
    description: _Sentence
    owner: Service
    writers: Annotated[list[Service], Field(min_length=1)]
    readers: Annotated[list[Service], Field(min_length=1)]
    checked_by: list[Service] = []
    outside_readers: list[str] = []
    key: Literal["account_id", "user_id"]
    events: Annotated[list[str], Field(min_length=1)]
    partitions: Annotated[int, Field(ge=1, le=1000)]
    config: dict[str, str]
    personal_data: dict[str, str]


def schemas_folder() -> Path:
    """Return the copy inside an installed package, or else `schemas/` of the checkout this module lies in."""
    packaged = _PACKAGE / "schemas"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "schemas"


@cache
def topic_files() -> tuple[TopicFile, ...]:
    """Return every topic's file, by name of topic. Raises ValueError naming the file that is not as it should be."""
    return tuple(_read(path) for path in sorted((schemas_folder() / "topics").glob("*.yaml")))


def _read(path: Path) -> TopicFile:
    try:
        topic = TopicFile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except ValidationError as error:
        raise ValueError(f"{path}: {'; '.join(findings(error))}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {error}") from error
    if path.name != f"{topic.topic}.yaml":
        raise ValueError(f"{path}: tells of {topic.topic}; a topic's file has its name")
    return topic
