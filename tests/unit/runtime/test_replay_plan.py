"""A plan keeps its word: its hash, its age, its allowance; and which records are meant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from countersign.cli.moments import moment_of
from countersign.cli.replay.options import rate_of
from countersign.cli.replay.planning import described
from countersign.cli.surroundings import CommandFailedError
from countersign.runtime.replay.plan import PLAN_GOOD_FOR, Asked, Found, Plan, PlanError, Range, exceeded
from countersign.runtime.replay.reading import Choice
from tests.support.events import a_record, an_access_requested

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_plan(**over: Any) -> Plan:
    fields: dict[str, Any] = {
        "asked": Asked(service="risk_evaluator", topic="access.requests.v1"),
        "made_at": NOON,
        "made_by": "ann@bastion",
        "code": "c" * 64,
        "limits": "l" * 64,
        "ranges": [Range(partition=0, first=0, end=10, records=10)],
        "found": Found(read=10, chosen=10, without_effect=8, effects={"denied request.stale": 2}, stale=10),
    }
    return Plan(**(fields | over)).sealed()


def test_a_plan_is_read_back_as_it_was_written() -> None:
    """With its hash, through its file."""
    plan = a_plan()
    assert Plan.parsed(plan.model_dump_json(indent=1)) == plan


@pytest.mark.parametrize("part", ["made_by", "ranges", "found", "asked"])
def test_a_plan_that_was_changed_is_refused(part: str) -> None:
    """Whatever it was: also a larger allowance."""
    other = {
        "made_by": "bob",
        "ranges": [],
        "found": Found(effects={"denied request.stale": 3}),
        "asked": Asked(service="verifier", topic="access.requests.v1"),
    }
    changed = a_plan().model_copy(update={part: other[part]})
    with pytest.raises(PlanError, match="its hash does not fit"):
        Plan.parsed(changed.model_dump_json())


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"kind": "another"}'])
def test_what_is_no_plan_is_refused_in_words(text: str) -> None:
    """No stack trace of a parser."""
    with pytest.raises(PlanError, match="this is no plan of a replay"):
        Plan.parsed(text)


def test_a_plan_is_good_for_a_day_and_for_the_code_that_made_it() -> None:
    """Each limit from both sides."""
    plan = a_plan()
    plan.require_fresh(NOON + PLAN_GOOD_FOR)
    with pytest.raises(PlanError, match="older than 24 h: make a new one"):
        plan.require_fresh(NOON + PLAN_GOOD_FOR + timedelta(seconds=1))
    plan.require_current(plan.code, plan.limits)
    for code, limits in (("d" * 64, plan.limits), (plan.code, "d" * 64)):
        with pytest.raises(PlanError, match=r"make a new one$"):
            plan.require_current(code, limits)


def test_a_plan_with_texts_is_refused() -> None:
    """Whatever else it holds."""
    a_plan().require_harmless()
    with pytest.raises(PlanError, match="3 x text, which a replay never causes"):
        a_plan(found=Found(forbidden={"text": 3})).require_harmless()


@pytest.mark.parametrize(("done", "beyond"), [(2, None), (3, "effect e: 2 planned, this would be number 3")])
def test_no_more_than_was_planned(done: int, beyond: str | None) -> None:
    """The last one that was planned is allowed, the next one is not; neither is what nobody planned."""
    assert exceeded({"effect e": done}, {"effect e": 2}) == beyond
    assert exceeded({"effect other": 1}, {"effect e": 2}) == "effect other: 0 planned, this would be number 1"


def test_a_plan_is_told_in_words() -> None:
    """What was decided, what never was and becomes what, and that nobody gets a text or a grant."""
    words = "\n".join(described(a_plan()))
    assert "already decided: 8; never decided: 2, will be: 2 x denied request.stale; texts 0, grants 0" in words
    assert "stale: 100%" in words
    assert "texts 3, grants 1" in "\n".join(described(a_plan(found=Found(forbidden={"text": 3, "grant": 1}))))


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ({}, True),
        ({"type": "countersign.access.requested.v1"}, True),
        ({"type": "countersign.access.granted.v1"}, False),
        ({"key": "another"}, False),
        ({"by": "event-time", "since": NOON}, True),
        ({"by": "event-time", "since": NOON + timedelta(seconds=1)}, False),
        ({"by": "event-time", "until": NOON}, False),
        ({"by": "event-time", "until": NOON + timedelta(seconds=1)}, True),
        ({"by": "log-time", "until": NOON}, True),
    ],
    ids=str,
)
def test_which_records_are_meant(asked: dict[str, Any], meant: bool) -> None:
    """By key, type and the producer's time; the time of the append is the offsets' affair."""
    record = a_record(an_access_requested(), at=NOON, appended_at=NOON + HOUR)
    choice = Choice(Asked(service="risk_evaluator", topic=record.topic, **asked))
    assert choice.is_meant(record) is meant


def test_times_and_rates_are_read_as_people_type_them() -> None:
    """And what cannot be read is named with an example."""
    assert moment_of("2026-07-01T12:00:00Z", "--since") == NOON
    assert moment_of("2026-07-01 12:00", "--since") == NOON
    assert moment_of(None, "--since") is None
    assert moment_of("1h", "--since") < moment_of("1m", "--since")  # type: ignore[operator] # neither is None
    assert (rate_of("200"), rate_of("0.5/s")) == (200.0, 0.5)
    for text in ("0", "fast", "20000/s", "-1"):
        with pytest.raises(CommandFailedError, match="such as 200/s"):
            rate_of(text)
    with pytest.raises(CommandFailedError, match="2h for two hours ago"):
        moment_of("yesterday", "--since")
