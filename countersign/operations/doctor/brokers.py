"""Kafka: whether it lets us in, topics as their files say, rights, and leaders of partitions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiokafka.errors import ClusterAuthorizationFailedError, KafkaError, SecurityDisabled

from countersign.contract.topic_files import topic_files
from countersign.operations.connecting import connected
from countersign.operations.rights import compare_rights, wanted_rights
from countersign.operations.topics import Topics, differences
from countersign.runtime.broker.kafka_refusal import words_of_kafka
from countersign.runtime.checkup import Finding, fine, warning, wrong

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from countersign.contract.topic_files import TopicFile
    from countersign.operations.connecting import Cluster
    from countersign.operations.rights import Difference as RightsDifference
    from countersign.operations.topics import Difference
    from countersign.runtime.broker.kafka import KafkaConnection

KAFKA_FAILURES = (KafkaError, OSError, TimeoutError)
_WORDS_SECONDS_MAX = 3.0
_NAMED_MAX = 3  # rights in one sentence
_NO_LEADER = -1


async def away(kafka: KafkaConnection) -> Finding:
    """Return why Kafka cannot be used, after a failure."""
    try:
        async with asyncio.timeout(_WORDS_SECONDS_MAX):
            words = await words_of_kafka(kafka)
    except TimeoutError:
        words = f"Kafka at {kafka.bootstrap_servers} does not answer: is it running?"
    todo = (
        "start it, or correct the address"
        if words.endswith("is it running?")
        else "mend that setting of Kafka's log-in"
    )
    return wrong("Kafka", words, todo)


async def topic_findings(cluster: Cluster) -> list[Finding]:
    """Return each difference between the cluster's topics and schemas/topics. Raises KAFKA_FAILURES."""
    files = topic_files()
    present = await Topics(cluster.admin).present([file.topic for file in files])
    described = await cluster.admin.describe_topics(None)
    return [*judged_topics(files, differences(files, present)), *leaderless(files, described)]


def judged_topics(files: Sequence[TopicFile], found: Iterable[Difference]) -> list[Finding]:
    """Return a finding for each difference, or one that all is well.

    What `countersign topics apply` leaves alone because the cluster keeps or has more is a warning, the rest errors.
    """
    judged = [_of_difference(difference) for difference in found]
    return judged or [fine("topics", f"all {len(files)} are as schemas/topics says")]


def _of_difference(difference: Difference) -> Finding:
    subject = f"topic {difference.topic}"
    if difference.kind == "topic":
        told = "there is none, or we may not see it: whoever writes or reads it waits"
        return wrong(subject, told, "see `countersign topics plan`, then `countersign topics apply`")
    told = f"{difference.name} is {difference.now or 'not set'}, declared is {difference.wanted}"
    if difference.left is None:
        return wrong(subject, told, "see `countersign topics plan`, then `countersign topics apply`")
    make = wrong if difference.name == "cleanup.policy" else warning
    return make(subject, told, f"`countersign topics apply` leaves it alone: {difference.left}")


def leaderless(files: Iterable[TopicFile], described: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return an error for each of our topics with partitions that no broker leads."""
    names = {file.topic for file in files}
    found = []
    for topic in described:
        lost = sorted(part["partition"] for part in topic["partitions"] if part["leader"] == _NO_LEADER)
        if topic["topic"] in names and lost:
            told = f"no broker leads partitions {', '.join(map(str, lost))}: nobody reads or writes them"
            found.append(wrong(f"topic {topic['topic']}", told, "bring the broker back that has their copies"))
    return found


async def rights_findings(kafka: KafkaConnection, tester: str | None = None) -> list[Finding]:
    """Return what differs between the cluster's ACLs and schemas/topics. Raises KAFKA_FAILURES.

    `tester` is a principal of a stack of one's own that may have rights beyond them.
    """
    try:
        found = await compare_rights(kafka, wanted_rights())
        return judged_rights(replace(found, beyond=tuple(one for one in found.beyond if one.principal != tester)))
    except SecurityDisabled:
        told = "the brokers have no authorizer: everybody who reaches them may write decisions"
        return [warning("rights", told, "set authorizer.class.name, and give the rights of schemas/topics")]
    except ClusterAuthorizationFailedError:
        who = kafka.sasl_username or "our principal"
        return [
            warning("rights", f"{who} may not look at them", "log in as the principal `operator` of the command line")
        ]


def judged_rights(difference: RightsDifference) -> list[Finding]:
    """Return an error for rights that are missing, a warning for those that nobody declared."""
    found = []
    if difference.missing:
        told = f"{len(difference.missing)} missing: {_some(difference.missing)}"
        todo = "give them (countersign.operations.rights.add_rights, as the brokers' administrator)"
        found.append(wrong("rights", told, todo))
    if difference.beyond:
        told = f"{len(difference.beyond)} beyond what schemas/topics says: {_some(difference.beyond)}"
        found.append(warning("rights", told, "take them back with kafka-acls.sh, unless somebody needs them"))
    return found or [fine("rights", "as schemas/topics says")]


def _some(rights: Sequence[object]) -> str:
    named = "; ".join(map(str, rights[:_NAMED_MAX]))
    return named if len(rights) <= _NAMED_MAX else f"{named}; and {len(rights) - _NAMED_MAX} more"


async def let_in(kafka: KafkaConnection) -> Finding:
    """Return that Kafka lets us in, or why not. Never raises KAFKA_FAILURES."""
    try:
        async with connected(kafka) as cluster:
            brokers = len((await cluster.admin.describe_cluster())["brokers"])
    except KAFKA_FAILURES:
        return await away(kafka)
    as_whom = f" as {kafka.sasl_username}" if kafka.sasl_username else ""
    return fine("Kafka", f"{kafka.bootstrap_servers} lets us in{as_whom}; brokers: {brokers}")
