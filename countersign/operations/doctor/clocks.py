"""Clocks: of producers and of the database against the brokers', and of this machine against the database's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.clock import system_clock
from countersign.contract import AccessAssessed, AccessRequested
from countersign.operations.log import TopicAbsentError, reading_log
from countersign.runtime.checkup import Finding, fine, warning, wrong
from countersign.runtime.messages.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from countersign.runtime.broker.kafka import KafkaConnection
    from countersign.runtime.messages.record import Record

RECORDS_OF_A_PARTITION = 20
NEWEST_OF_A_SOURCE = 5
LOOKS_BACK = timedelta(hours=24)
SLIGHT = timedelta(seconds=5)  # chosen: clocks kept by NTP differ by far less, and a record is appended within a second
AHEAD_MAX = timedelta(seconds=30)  # request.future (policy as shipped)
BEHIND_MAX = timedelta(minutes=2)  # request.stale (policy as shipped)
_TOPICS = {AccessRequested.topic: "producer", AccessAssessed.topic: "database"}


@dataclass(frozen=True, slots=True)
class Sample:
    """A record's source, when the broker appended it, and by how much its ce_time is ahead of that."""

    source: str
    appended_at: datetime
    ahead: timedelta


async def clock_findings(kafka: KafkaConnection) -> list[Finding]:
    """Compare the event times of the last records with when they were appended. Raises KAFKA_FAILURES."""
    found: list[Finding] = []
    for topic, whose in _TOPICS.items():
        try:
            samples = await _samples(kafka, topic)
        except TopicAbsentError:
            continue  # said with the topics
        found += judged_sources(whose, topic, samples)
    return found


async def _samples(kafka: KafkaConnection, topic: str) -> list[Sample]:
    since = system_clock() - LOOKS_BACK
    async with reading_log(kafka, [topic]) as log:
        starts, recent, ends = await log.starts(), await log.at(since), await log.ends()
        first = {one: max(starts[one], recent[one], end - RECORDS_OF_A_PARTITION) for one, end in ends.items()}
        read = [record async for record in log.between(first, ends)]
    samples = [sample_of(record) for record in read]
    return [sample for sample in samples if sample is not None]


def sample_of(record: Record) -> Sample | None:
    """Return what a record says about its producer's clock; None if it has no source, or no time that can be read."""
    source, written = record.header("ce_source"), record.header("ce_time")
    if source is None or written is None:
        return None
    try:
        made_at = rfc3339(written.decode())
        name = source.decode()
    except ValueError:
        return None
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)[:60]
    return Sample(shown, record.appended_at, made_at - record.appended_at)


def judged_sources(whose: str, topic: str, samples: Iterable[Sample]) -> list[Finding]:
    """Return a finding for each source, by the one of its newest records whose time is the nearest to the broker's.

    A record that was published late makes its producer's clock look behind; one of the newest that was not late is
    enough to clear it.
    """
    by_source: dict[str, list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda each: each.appended_at, reverse=True):
        by_source[sample.source].append(sample)
    if not by_source:
        return [
            fine(f"clock of the {whose}", f"no record on {topic} in the last {LOOKS_BACK.days or 1} d to judge it by")
        ]
    found = []
    for source, newest in sorted(by_source.items()):
        ahead = min((each.ahead for each in newest[:NEWEST_OF_A_SOURCE]), key=abs)
        found.append(_of_source(f"clock of the {whose} ({source})", ahead))
    return found


def _of_source(subject: str, ahead: timedelta) -> Finding:
    seconds = abs(ahead.total_seconds())
    if abs(ahead) <= SLIGHT:
        return fine(subject, "agrees with Kafka's")
    if ahead > timedelta(0):
        told = f"is {seconds:.0f} s ahead of Kafka's"
        severe = ahead > AHEAD_MAX
        denied = ": its requests are denied request.future" if severe else ""
    else:
        told = f"is {seconds:.0f} s behind Kafka's, or its records are published so late"
        severe = -ahead > BEHIND_MAX
        denied = ": its requests are denied request.stale" if severe else ""
    return (wrong if severe else warning)(subject, told + denied, "mend that machine's time (NTP), or Kafka's")


def judged_machine(before: datetime, theirs: datetime, after: datetime) -> Finding:
    """Return how this machine's clock, asked before and after, fits the database's, asked in between."""
    subject = "clock of this machine"
    doubt = (after - before) / 2
    ahead = before + doubt - theirs
    surely = abs(ahead) - doubt
    if surely <= SLIGHT:
        return fine(subject, "agrees with PostgreSQL's")
    way = "ahead of" if ahead > timedelta(0) else "behind"
    told = f"is {abs(ahead).total_seconds():.0f} s {way} PostgreSQL's"
    return (wrong if surely > AHEAD_MAX else warning)(subject, told, "mend this machine's time (NTP), or PostgreSQL's")
