"""The difference between the topics' files and a cluster, and what of it can be mended without losing anything.

Nothing here removes a topic, a partition or a record: a difference that could only be mended by that is shown with the
reason why it is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from aiokafka.admin import AIOKafkaAdminClient

    from countersign.contract.topic_files import TopicFile

Kind = Literal["topic", "partitions", "config"]
REPLICATION_MAX = 3  # the usual number of copies; a cluster of fewer brokers has one on each
REKEY = (
    "keys move to other partitions, so that newer records of an account can be read before its older ones: "
    "stop who writes, let the groups read everything, then give --allow-rekey"
)
_DYNAMIC_TOPIC_CONFIG = 1  # Kafka's code for a setting of the topic itself
_ANSWER_MS_MAX = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is otherwise on the cluster. `now` is None for a missing topic; `left` says why it is not changed, if so."""

    kind: Kind
    topic: str
    owner: str
    name: str
    now: str | None
    wanted: str
    left: str | None = None


@dataclass(frozen=True, slots=True)
class Present:
    """A topic as it is on the cluster. `own` are the settings that were made for this topic, `config` are all."""

    partitions: int
    config: Mapping[str, str]
    own: Mapping[str, str]


def differences(
    files: Sequence[TopicFile], present: Mapping[str, Present], *, allow_rekey: bool = False
) -> list[Difference]:
    """Return every difference: missing topics, then partitions, then settings."""
    return list(
        chain(
            _missing(files, present),
            _partitions(files, present, allow_rekey=allow_rekey),
            _settings(files, present),
        )
    )


def _missing(files: Iterable[TopicFile], present: Mapping[str, Present]) -> Iterator[Difference]:
    for file in files:
        if file.topic not in present:
            wanted = f"{file.partitions} partitions, " + ", ".join(f"{n}={v}" for n, v in sorted(file.config.items()))
            yield Difference(
                kind="topic", topic=file.topic, owner=file.owner, name="topic", now=None, wanted=wanted
            )  # fmt: skip


def _partitions(
    files: Iterable[TopicFile], present: Mapping[str, Present], *, allow_rekey: bool
) -> Iterator[Difference]:
    for file in files:
        found = present.get(file.topic)
        if found is None or found.partitions == file.partitions:
            continue
        fewer = file.partitions < found.partitions
        left = "partitions are never removed" if fewer else None if allow_rekey else REKEY
        yield Difference(
            kind="partitions",
            topic=file.topic,
            owner=file.owner,
            name="partitions",
            now=str(found.partitions),
            wanted=str(file.partitions),
            left=left,
        )


def _settings(files: Iterable[TopicFile], present: Mapping[str, Present]) -> Iterator[Difference]:
    for file in files:
        found = present.get(file.topic)
        for name, wanted in sorted(file.config.items()) if found else ():
            now = found.config.get(name, "") if found else ""
            if now != wanted:
                yield Difference(
                    kind="config",
                    topic=file.topic,
                    owner=file.owner,
                    name=name,
                    now=now,
                    wanted=wanted,
                    left=_loses(name, now, wanted),
                )


def _loses(name: str, now: str, wanted: str) -> str | None:
    """Return why a setting is not changed: a lower limit, or another policy, removes records or weakens a promise."""
    if name == "cleanup.policy":
        return "another policy removes records: change it by hand, once nobody needs them"
    try:
        before, after = int(now), int(wanted)
    except ValueError:
        return None
    unlimited = name.startswith("retention.")  # -1: for ever
    lower = (after != -1 and before == -1) or (-1 != after < before) if unlimited else after < before
    return "a lower limit is never set: do it by hand, if you mean it" if lower else None


class Topics:
    """Reads and mends the topics of a cluster. Every method raises KafkaError, OSError and TimeoutError."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def present(self, names: Sequence[str]) -> dict[str, Present]:
        """Return those of the topics that are there."""
        there = {each["topic"]: len(each["partitions"]) for each in await self._admin.describe_topics(None)}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names if name in there]
        found = {}
        for answer in await self._admin.describe_configs(wanted) if wanted else ():
            for code, message, _, name, entries in answer.resources:
                if code:
                    raise for_code(code)(f"settings of {name}: {message}")
                config = {entry[0]: entry[1] or "" for entry in entries}
                own = {entry[0]: entry[1] or "" for entry in entries if entry[3] == _DYNAMIC_TOPIC_CONFIG}
                found[name] = Present(there[name], config, own)
        return found

    async def replication(self) -> int:
        """Return how many copies new topics get here."""
        cluster = await self._admin.describe_cluster()
        return min(REPLICATION_MAX, len(cluster["brokers"]))

    async def create(self, files: Sequence[TopicFile], replication: int) -> list[str]:
        """Create topics, and return the names of those that nobody else had created meanwhile."""
        if not files:
            return []
        new = [NewTopic(each.topic, each.partitions, replication, topic_configs=dict(each.config)) for each in files]
        answer = await self._admin.create_topics(new, timeout_ms=_ANSWER_MS_MAX)
        created = []
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code not in {0, TopicAlreadyExistsError.errno}:
                raise error(f"topic {name}")
            created += [name] if code == 0 else []
        return created

    async def mend(self, file: TopicFile, changes: Sequence[Difference], replication: int) -> None:
        """Mend the differences of one topic, but for those that are left alone."""
        wanted = [each for each in changes if each.left is None]
        if any(each.kind == "topic" for each in wanted):
            await self.create([file], replication)
        if any(each.kind == "partitions" for each in wanted):
            await self._admin.create_partitions({file.topic: NewPartitions(file.partitions)})
        settings = {each.name: each.wanted for each in wanted if each.kind == "config"}
        if settings:
            await self._set(file.topic, settings)

    async def _set(self, topic: str, settings: Mapping[str, str]) -> None:
        # This request replaces all settings of the topic's own, so those that nobody changes go along.
        own = (await self.present([topic]))[topic].own
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, {**own, **settings})
        for answer in await self._admin.alter_configs([resource]):
            for code, message, *_ in answer.resources:
                if code:
                    raise for_code(code)(f"settings of {topic}: {message}")
