"""What is made of what servers say: topics, rights, clocks, migrations, outboxes, dead letters, brakes, services."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from countersign.contract.topic_files import topic_files
from countersign.operations.doctor.brokers import judged_rights, judged_topics, leaderless
from countersign.operations.doctor.clocks import Sample, judged_machine, judged_sources, sample_of
from countersign.operations.doctor.database import judged_brakes, judged_letters, judged_outboxes
from countersign.operations.doctor.services import Told, merged
from countersign.operations.letters import Brake, Cause
from countersign.operations.rights import Difference, Operation, Resource, Right
from countersign.operations.topics import Present, differences
from countersign.runtime.checkup import any_error, fine, in_time, warning, wrong
from countersign.runtime.database.migrations_seen import compared
from countersign.runtime.database.postgres_refusal import words_of_postgres
from countersign.runtime.messages.record import Record
from countersign.runtime.program.unread_settings import unread_finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.runtime.checkup import Finding

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
FILES = topic_files()
FILE = next(file for file in FILES if file.topic == "access.requests.v1")


def one(found: Sequence[Finding]) -> tuple[str, str, str]:
    (finding,) = found
    return finding.level, finding.subject, finding.sentence


def of_topic(partitions: int = FILE.partitions, **config: str) -> tuple[str, str, str]:
    changed = {**FILE.config, **{name.replace("__", "."): value for name, value in config.items()}}
    return one(judged_topics([FILE], differences([FILE], {FILE.topic: Present(partitions, changed, {})})))


def test_topics_as_declared_are_one_finding() -> None:
    assert of_topic() == ("ok", "topics", "all 1 are as schemas/topics says")
    missing = judged_topics(FILES, differences(FILES, {}))
    assert {finding.level for finding in missing} == {"error"}
    assert len(missing) == len(FILES)


@pytest.mark.parametrize(
    ("partitions", "config", "level", "words"),
    [
        (12, {"retention__ms": "60000"}, "error", "retention.ms is 60000, declared is 604800000"),
        (12, {"retention__ms": "999999999999"}, "warning", "retention.ms is 999999999999"),
        (12, {"message__timestamp__type": "CreateTime"}, "error", "message.timestamp.type is CreateTime"),
        (12, {"cleanup__policy": "compact"}, "error", "cleanup.policy is compact, declared is delete"),
        (6, {}, "warning", "partitions is 6, declared is 12"),
        (24, {}, "warning", "partitions is 24, declared is 12"),
    ],
    ids=["shorter", "longer", "time", "policy", "fewer", "more"],
)
def test_each_difference_of_a_topic_is_judged(partitions: int, config: dict[str, str], level: str, words: str) -> None:
    """What loses records or breaks a rule is an error; what is only more, or cannot be mended in passing, a warning."""
    assert of_topic(partitions, **config)[:2] == (level, f"topic {FILE.topic}")
    assert words in of_topic(partitions, **config)[2]


def test_partitions_without_a_leader_are_an_error() -> None:
    """Of our topics only."""
    lost = [{"partition": number, "leader": leader} for number, leader in ((0, 1), (3, -1), (1, -1))]
    described: list[dict[str, Any]] = [
        {"topic": FILE.topic, "partitions": lost},
        {"topic": "other", "partitions": lost},
    ]
    assert one(leaderless(FILES, described)) == (
        "error",
        f"topic {FILE.topic}",
        "no broker leads partitions 1, 3: nobody reads or writes them",
    )
    assert leaderless(FILES, [{"topic": FILE.topic, "partitions": lost[:1]}]) == []


def test_rights_are_judged() -> None:
    """Missing ones stop a service, others are somebody's decision."""
    rights = tuple(Right("exports", Operation.READ, Resource.TOPIC, f"t{number}") for number in range(5))
    assert one(judged_rights(Difference((), ()))) == ("ok", "rights", "as schemas/topics says")
    missing, beyond = judged_rights(Difference(rights[:1], rights))
    assert (missing.level, missing.sentence) == ("error", "1 missing: exports may read the topic t0")
    assert beyond.level == "warning"
    assert beyond.sentence.endswith("exports may read the topic t2; and 2 more")


def samples(*ahead: float, source: str = "/countersign/gateway") -> list[Sample]:
    """Return samples, newest first."""
    return [Sample(source, NOON - timedelta(seconds=age), timedelta(seconds=each)) for age, each in enumerate(ahead)]


@pytest.mark.parametrize(
    ("ahead", "level", "words"),
    [
        ([5], "ok", "agrees"),
        ([5.001], "warning", "is 5 s ahead of Kafka's"),
        ([30], "warning", "is 30 s ahead"),
        ([30.001], "error", "is 30 s ahead of Kafka's: its requests are denied request.future"),
        ([-5], "ok", "agrees"),
        ([-6], "warning", "is 6 s behind Kafka's, or its records are published so late"),
        ([-120], "warning", "is 120 s behind"),
        ([-121], "error", "denied request.stale"),
        ([-600, -600, 0, -600], "ok", "agrees"),
        ([60, 60, 60, 60, 60, 0], "error", "60 s ahead"),
    ],
    ids=range(10),
)
def test_a_producers_clock_is_judged_by_its_newest_records(ahead: list[float], level: str, words: str) -> None:
    """Late records do not count if one of the newest five was not late; older ones do not count at all."""
    found = one(judged_sources("producer", "access.requests.v1", samples(*ahead)))
    assert found[:2] == (level, "clock of the producer (/countersign/gateway)")
    assert words in found[2]


def test_each_source_is_judged_for_itself() -> None:
    both = [*samples(0), *samples(60, source="other")]
    assert [finding.level for finding in judged_sources("producer", "t", both)] == ["ok", "error"]
    assert one(judged_sources("producer", "t", []))[0] == "ok"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"ce_source": b"/a", "ce_time": b"2026-06-01T12:00:07Z"}, ("/a", 7.0)),
        ({"ce_source": b"/a\x1b[31m", "ce_time": b"2026-06-01T12:00:07Z"}, ("/a?[31m", 7.0)),
        ({"ce_source": b"/a", "ce_time": b"yesterday"}, None),
        ({"ce_source": b"\xff", "ce_time": b"2026-06-01T12:00:07Z"}, None),
        ({"ce_source": b"/a"}, None),
        ({"ce_time": b"2026-06-01T12:00:07Z"}, None),
    ],
    ids=range(6),
)
def test_a_record_tells_of_a_clock_or_not(headers: dict[str, bytes], expected: tuple[str, float] | None) -> None:
    """Whatever a producer writes there; what a terminal would obey is not printed."""
    sample = sample_of(Record("t", 0, 0, None, None, tuple(headers.items()), NOON))
    assert (None if sample is None else (sample.source, sample.ahead.total_seconds())) == expected


@pytest.mark.parametrize(
    ("ours", "took", "level"),
    [
        (0, 0, "ok"),
        (5, 0, "ok"),
        (6, 0, "warning"),
        (-6, 0, "warning"),
        (31, 0, "error"),
        (6, 4, "ok"),
        (8, 4, "warning"),
    ],
)
def test_this_machines_clock_is_judged_with_the_doubt_of_the_way(ours: float, took: float, level: str) -> None:
    """What the round trip took may be on either side of the answer."""
    middle = NOON + timedelta(seconds=ours)
    half = timedelta(seconds=took / 2)
    assert judged_machine(middle - half, NOON, middle + half).level == level


@pytest.mark.parametrize(
    ("applied", "level", "words"),
    [
        ({"a": "1", "b": "2"}, "ok", "all 2 are applied"),
        ({"a": "1"}, "error", "1 not applied: b"),
        ({}, "error", "2 not applied: a, b"),
        ({"a": "1", "b": "3"}, "error", "changed after they were applied: b"),
        ({"a": "1", "b": "2", "c": "3"}, "warning", "the schema is ahead of this program: c"),
    ],
    ids=range(5),
)
def test_migrations_are_compared(applied: dict[str, str], level: str, words: str) -> None:
    found = compared("verifier", applied, {"a": "1", "b": "2"})
    assert (found.level, found.subject, found.sentence) == (level, "migrations of verifier", words)


def test_outboxes_are_judged() -> None:
    """By the age of what nobody publishes, and by what Kafka refused for good."""
    well = {"waiting": 0, "seconds": None, "parked": 0}
    assert one(judged_outboxes({"verifier": well, "exports": {**well, "waiting": 9, "seconds": 60.0}}))[0] == "ok"
    late = one(judged_outboxes({"verifier": well, "exports": {"waiting": 9, "seconds": 61.0, "parked": 0}}))
    assert late == ("error", "outbox of exports", "9 records wait to be published, the oldest for 61 s")
    assert one(judged_outboxes({"verifier": {**well, "parked": 1}}))[:2] == ("error", "outbox of verifier")


def test_dead_letters_and_brakes_are_judged() -> None:
    """One finding a service with its commonest cause; one a partition that stands still."""

    def cause(service: str, words: str, letters: int) -> Cause:
        named: dict[str, Any] = {
            "topic": "t",
            "kind": "bug",
            "state": "new",
            "source": None,
            "first": NOON,
            "last": NOON,
        }
        return Cause(service=service, cause=words, letters=letters, **named)

    letters = judged_letters([cause("exports", "a", 1), cause("verifier", "b", 2), cause("verifier", "c", 3)])
    assert [(each.level, each.subject, each.sentence) for each in letters] == [
        ("warning", "dead letters of exports", "1 wait; most: a"),
        ("warning", "dead letters of verifier", "5 wait; most: c"),
    ]
    assert one(judged_letters([]))[0] == "ok"
    brake = Brake(service="verifier", topic="t", partition=3, reason="50 records in a row failed", since=NOON)
    level, subject, sentence = one(judged_brakes([brake]))
    assert (level, subject) == ("error", "brake of verifier")
    assert sentence == "holds t partition 3 since 2026-06-01 12:00 UTC: 50 records in a row failed"
    assert one(judged_brakes([]))[0] == "ok"


X = "COUNTERSIGN_KAFFKA__X"


def saying(service: str, *names: str, has: Sequence[str] = (X,)) -> Told:
    findings = [unread_finding(name, "COUNTERSIGN_KAFKA__…", [service]) for name in names]
    return Told(service, frozenset(has), [fine("settings", "they are right"), *findings])


def test_a_variable_that_no_service_reads_is_told_once() -> None:
    """With the nearest name; the services' other findings stand under their names."""
    first, second, last = merged([saying("exports", X), saying("verifier", X)])
    assert [first.subject, second.subject] == ["exports, settings", "verifier, settings"]
    assert (last.subject, last.sentence) == (X, "is set and is no setting of exports, verifier: nobody reads it")
    assert last.todo == f"set COUNTERSIGN_KAFKA__… if that is meant, or unset {X}"


def test_a_variable_that_another_service_reads_is_no_finding() -> None:
    """In an environment that several share; but one that only one of them has is its own."""
    assert len(merged([saying("exports", X), saying("verifier")])) == 2
    assert merged([saying("exports", X), saying("verifier", has=())])[-1].subject == X


async def test_a_check_that_hangs_or_fails_is_a_finding() -> None:
    """The others go on; no stack trace, no text of the error, which may quote anything."""

    async def hangs() -> list[Finding]:
        await asyncio.sleep(60)
        return []

    async def fails() -> list[Finding]:
        raise KeyError("a secret")

    assert one(await in_time("Kafka", hangs, 0.01))[:2] == ("error", "Kafka")
    failed = await in_time("Kafka", fails)
    assert one(failed) == ("error", "Kafka", "cannot be checked: KeyError")
    assert any_error(failed)
    assert not any_error([fine("a", "b"), warning("a", "b", "c")])
    assert str(wrong("a", "b", "c")) == "error    a: b -> c"
    assert str(fine("a", "b")) == "ok       a: b"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InvalidPasswordError('password authentication failed for user "verifier"'), 'for user "verifier"'),
        (asyncpg.InvalidCatalogNameError('database "x" does not exist'), "no such database"),
        (asyncpg.TooManyConnectionsError("sorry, too many clients"), "no connection left"),
        (asyncpg.CannotConnectNowError("the database system is starting up"), "starting or stopping"),
        (asyncpg.ReadOnlySQLTransactionError("x"), "takes no writes"),
        (ConnectionRefusedError(111, "secret-password"), "does not answer: ConnectionRefusedError"),
        (TimeoutError(), "does not answer: TimeoutError"),
        (ValueError("invalid DSN: secret-password"), "the DSN cannot be read"),
        (asyncpg.ClientConfigurationError("invalid DSN: secret-password"), "the DSN cannot be read"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_why_postgresql_cannot_be_used_is_a_sentence(error: Exception, words: str) -> None:
    sentence, todo = words_of_postgres(error)
    assert words in sentence
    assert todo
    assert "secret-password" not in sentence + todo
