"""Who may do what on Kafka: rendered from the topics' files, compared with the cluster's ACLs, and added there.

A principal has the name of its service. It writes the topics whose file lists it as a writer, reads those whose file
lists it as a reader, under its own group alone, and sees no other topic. An idempotent producer needs no right beyond
that to write (Kafka 3.0 and later), and nobody uses transactions. Rights are never removed here: what the cluster has
beyond them is reported, as somebody gave it on purpose, or should not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from countersign.contract.topic_files import topic_files
from countersign.operations.connecting import answer_to

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from countersign.contract.topic_files import TopicFile
    from countersign.runtime.broker.kafka import KafkaConnection

OPERATOR = "operator"  # the principal of the command line, as the database's role is called
GROUP_PREFIX = "countersign."
_ANY, _DENY, _ALLOW = 1, 2, 3
_EVERY_HOST, _CLUSTER = "*", "kafka-cluster"


class Resource(IntEnum):
    """Kafka's numbers for what a right is about."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Operation(IntEnum):
    """Kafka's numbers for what may be done; reading and writing let somebody describe it as well."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


class Pattern(IntEnum):
    """Whether a name is meant as it is, or everything that begins with it."""

    LITERAL = 3
    PREFIXED = 4


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """What a principal may do from every host; or, `denied`, may not, whatever else it may."""

    principal: str
    operation: int
    resource: int
    name: str
    pattern: int = Pattern.LITERAL
    denied: bool = False
    host: str = _EVERY_HOST

    def __str__(self) -> str:
        """Return a sentence without its full stop."""
        may = "may not" if self.denied else "may"
        kind = _word(Resource, self.resource)
        name = f"{self.name}*" if self.pattern == Pattern.PREFIXED else self.name
        at = "" if self.host == _EVERY_HOST else f" from {self.host}"
        return f"{self.principal} {may} {_word(Operation, self.operation)} the {kind} {name}{at}"


@dataclass(frozen=True, slots=True)
class Difference:
    """`missing` are wanted and not on the cluster; `beyond` are on the cluster and not wanted. Both sorted."""

    missing: tuple[Right, ...]
    beyond: tuple[Right, ...]


def wanted_rights(topics: Iterable[TopicFile] | None = None) -> frozenset[Right]:
    """Return the rights of the six services and of the command line, as the topics' files say."""
    found: set[Right] = set()
    for topic in topic_files() if topics is None else topics:
        found |= {Right(writer, Operation.WRITE, Resource.TOPIC, topic.topic) for writer in topic.writers}
        for reader in topic.readers:
            found |= {Right(reader, Operation.READ, Resource.TOPIC, topic.topic), *_group_of(reader)}
        found |= {Right(checker, Operation.READ, Resource.TOPIC, topic.topic) for checker in topic.checked_by}
        found |= {
            Right(OPERATOR, operation, Resource.TOPIC, topic.topic)
            for operation in (Operation.READ, Operation.DESCRIBE_CONFIGS)
        }
    return frozenset(found | _of_operator())


def _group_of(service: str) -> Iterator[Right]:
    """Yield the right to a service's group, and to groups of its own below it."""
    yield Right(service, Operation.READ, Resource.GROUP, f"{GROUP_PREFIX}{service}")
    yield Right(service, Operation.READ, Resource.GROUP, f"{GROUP_PREFIX}{service}.", Pattern.PREFIXED)


def _of_operator() -> set[Right]:
    """Return what the command line needs beside reading: to see groups, to set their offsets, and to see rights."""
    return {
        Right(OPERATOR, Operation.READ, Resource.GROUP, GROUP_PREFIX, Pattern.PREFIXED),
        Right(OPERATOR, Operation.DESCRIBE, Resource.CLUSTER, _CLUSTER),
    }


async def compare_rights(kafka: KafkaConnection, wanted: Collection[Right]) -> Difference:
    """Return how the cluster's rights differ from those wanted.

    `kafka` is a connection of somebody who may describe the cluster. Raises KafkaError, OSError or TimeoutError;
    SecurityDisabled means that the brokers have no authorizer: everybody may do everything.
    """
    present = await _present(kafka)
    return Difference(tuple(sorted(set(wanted) - present)), tuple(sorted(present - set(wanted))))


async def add_rights(kafka: KafkaConnection, wanted: Collection[Right]) -> None:
    """Add rights; those that are there stay as they are.

    `kafka` is an administrator's connection. Raises KafkaError, OSError or TimeoutError; the text names the right that
    was refused, and others may have been added before it.
    """
    ordered = sorted(wanted)
    answer = await answer_to(kafka, _CreateRights(ordered))
    for right, (code, message) in zip(ordered, answer.creation_responses, strict=True):
        if code:
            raise for_code(code)(f"{right}: {message or ''}")


class _CreateRights(CreateAclsRequest):  # type: ignore[misc] # aiokafka has no types
    """All rights in one request, where aiokafka's own takes one."""

    def __init__(self, rights: Iterable[Right]) -> None:
        self._creations = [
            (
                right.resource,
                right.name,
                right.pattern,
                f"User:{right.principal}",
                right.host,
                right.operation,
                _DENY if right.denied else _ALLOW,
            )
            for right in rights
        ]

    def build(self, request_struct_class: Any) -> Any:
        """Return what is sent; Kafka 4 takes no version that is older than the one with patterns."""
        return request_struct_class(self._creations)


async def _present(kafka: KafkaConnection) -> set[Right]:
    answer = await answer_to(kafka, DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ANY))
    if answer.error_code:
        raise for_code(answer.error_code)(answer.error_message or "")
    return {
        Right(principal.removeprefix("User:"), operation, resource, name, pattern, permission == _DENY, host)
        for resource, name, pattern, held in answer.resources
        for principal, host, operation, permission in held
    }


def _word(kind: type[IntEnum], number: int) -> str:
    """Return a word for one of Kafka's numbers; for one that is newer than this, the number."""
    try:
        return kind(number).name.lower().replace("_", " ")
    except ValueError:
        return str(number)
