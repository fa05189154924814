"""Everything that can be looked at without a service's settings, side by side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from countersign.clock import system_clock
from countersign.operations.connecting import connected
from countersign.operations.doctor.brokers import KAFKA_FAILURES, away, let_in, rights_findings, topic_findings
from countersign.operations.doctor.clocks import clock_findings
from countersign.operations.doctor.database import database_findings
from countersign.operations.doctor.secret_files import secrets_findings
from countersign.runtime.checkup import Finding, any_error, in_time, warning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from countersign.runtime.broker.kafka import KafkaConnection

    Look = Callable[[], Awaitable[Sequence[Finding]]]

_NOT_GIVEN = "not looked at: no address is known"


async def examined(
    kafka: KafkaConnection | None, dsn: str | None, secrets: Sequence[Path], tester: str | None = None
) -> list[Finding]:
    """Return the findings about Kafka, PostgreSQL and secrets files, in that order. Waits for some seconds at most.

    An address that is None is a finding too. `dsn` is the operator's, `tester` a principal of a stack of one's own
    that may have more rights than the topics' files say. Nothing is changed anywhere.
    """
    parts = await asyncio.gather(_kafka(kafka, tester), in_time("PostgreSQL", lambda: _database(dsn)))
    return [*(finding for part in parts for finding in part), *secrets_findings(secrets, system_clock())]


async def _database(dsn: str | None) -> Sequence[Finding]:
    if dsn is None:
        return [warning("PostgreSQL", _NOT_GIVEN, "give --dsn, or set OPERATOR_DSN")]
    return await database_findings(dsn)


async def _kafka(kafka: KafkaConnection | None, tester: str | None) -> Sequence[Finding]:
    if kafka is None:
        return [warning("Kafka", _NOT_GIVEN, "give --bootstrap, or set KAFKA_BOOTSTRAP_SERVERS")]

    async def first_of_all() -> Sequence[Finding]:
        return [await let_in(kafka)]

    async def topics() -> Sequence[Finding]:
        async with connected(kafka) as cluster:
            return await topic_findings(cluster)

    first = await in_time("Kafka", first_of_all)
    if any_error(first):
        told = "were not looked at, as Kafka cannot be used"
        return [*first, warning("topics, rights, clocks of producers", told, "mend that first, then run this again")]
    looks: dict[str, Look] = {
        "topics": topics,
        "rights": lambda: rights_findings(kafka, tester),
        "clocks of producers": lambda: clock_findings(kafka),
    }
    parts = await asyncio.gather(*(in_time(subject, _or_away(kafka, look)) for subject, look in looks.items()))
    return [*first, *(finding for part in parts for finding in part)]


def _or_away(kafka: KafkaConnection, look: Look) -> Look:
    """Return the look with Kafka's own failures as a finding: it may go between two looks."""

    async def looked() -> Sequence[Finding]:
        try:
            return await look()
        except KAFKA_FAILURES:
            return [await away(kafka)]

    return looked
