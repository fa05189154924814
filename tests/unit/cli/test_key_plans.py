"""What a rotation or a revocation would do, from what the files hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from countersign.operations.keys.plan import (
    RECENT,
    KeyCurrentError,
    Revocation,
    Rotation,
    Use,
    begin_at,
    revocation,
    rotation,
    state_of,
)
from countersign.operations.keys.rings import RINGS, Entry, Holdings, KeysDifferError
from countersign.runtime.keys import WAITS

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
CODES, GRANTS = RINGS["codes"], RINGS["grants"]
OLD = Entry(key_id="old", active_from=NOON - 100 * DAY)


def new(active_from: datetime = WAITS) -> Entry:
    return Entry(key_id="new", active_from=active_from)


def codes(verifier: list[Entry], notifier: list[Entry]) -> Holdings:
    """Return the ring of codes as its two files hold it."""
    return Holdings(
        CODES,
        {"verifier": {e.key_id: e for e in verifier}, "notifier": {e.key_id: e for e in notifier}},
    )


def grants(*entries: Entry) -> Holdings:
    return Holdings(GRANTS, {"verifier": {entry.key_id: entry for entry in entries}})


def test_each_ring_is_held_by_the_services_that_need_it() -> None:
    """The verifier alone signs; who seals and who opens share a ring."""
    assert {name: set(ring.holders) for name, ring in RINGS.items()} == {
        "codes": {"verifier", "notifier"},
        "grants": {"verifier"},
        "numbers": {"enrolment", "notifier"},
        "assessments": {"risk_evaluator", "verifier"},
    }


@pytest.mark.parametrize(
    ("holdings", "left"),
    [
        pytest.param(codes([OLD], [OLD]), Rotation(key_id=None, missing=CODES.holders), id="nothing begun"),
        pytest.param(codes([OLD, new()], [OLD]), Rotation(key_id="new", missing=("notifier",)), id="in one file"),
        pytest.param(codes([OLD], [OLD, new()]), Rotation(key_id="new", missing=("verifier",)), id="in the other"),
        pytest.param(codes([OLD, new()], [OLD, new()]), Rotation(key_id="new"), id="in both, waiting"),
        pytest.param(
            codes([OLD, new(NOON + DAY)], [OLD, new()]),
            Rotation(key_id="new", begins=NOON + DAY, unequal=("notifier",)),
            id="its time set in one file",
        ),
        pytest.param(
            codes([OLD, new(NOON - DAY)], [OLD, new()]),
            Rotation(key_id="new", begins=NOON - DAY, unequal=("notifier",)),
            id="its time set in one file, and come",
        ),
        pytest.param(
            codes([OLD, new(NOON + DAY)], [OLD, new(NOON + DAY)]),
            Rotation(key_id="new", begins=NOON + DAY),
            id="its time set",
        ),
        pytest.param(
            codes([OLD, new(NOON - RECENT + TICK)], [OLD, new(NOON - RECENT + TICK)]),
            Rotation(key_id="new", begins=NOON - RECENT + TICK, recent=True),
            id="done a moment ago",
        ),
        pytest.param(
            codes([OLD, new(NOON - RECENT)], [OLD, new(NOON - RECENT)]),
            Rotation(key_id=None, missing=CODES.holders),
            id="done long ago",
        ),
        pytest.param(
            codes([OLD, new(NOON - DAY)], [new(NOON - DAY)]),
            Rotation(key_id=None, missing=CODES.holders),
            id="the old one taken out of one file",
        ),
    ],
)
def test_a_rotation_goes_on_with_what_was_begun(holdings: Holdings, left: Rotation) -> None:
    """Whichever file it stopped after; a second key is never drawn beside one that waits."""
    assert rotation(holdings, NOON) == left


def test_another_rotation_at_once_has_to_be_asked_for() -> None:
    """As it would rather be the first one run again; what waits comes first even then."""
    done = codes([OLD, new(NOON)], [OLD, new(NOON)])
    assert rotation(done, NOON).recent
    assert rotation(done, NOON, again=True) == Rotation(key_id=None, missing=CODES.holders)
    assert rotation(codes([OLD, new()], [OLD]), NOON, again=True).key_id == "new"


def test_a_key_begins_in_whole_seconds_and_not_early() -> None:
    """The metric and the files then say the same."""
    begins = begin_at(NOON + TICK, timedelta(minutes=10))
    assert begins == NOON + timedelta(minutes=10, seconds=1)


def test_one_id_means_one_key() -> None:
    """What one service seals the other could not open."""
    mine = Entry(key_id="k", active_from=NOON, digest=b"1")
    other = Entry(key_id="k", active_from=NOON, digest=b"2")
    with pytest.raises(KeysDifferError, match="codes: the key k is not the same in the files of"):
        codes([mine], [other])


@pytest.mark.parametrize(
    ("now", "states"),
    [
        (NOON - TICK, {"old": "current", "new": "scheduled"}),
        (NOON, {"old": "former", "new": "current"}),
    ],
)
def test_a_key_is_used_from_its_time(now: datetime, states: dict[str, str]) -> None:
    """From both sides."""
    holdings = codes([OLD, new(NOON)], [OLD, new(NOON)])
    assert {key_id: state_of(holdings, key_id, now) for key_id in ("old", "new")} == states
    assert holdings.used_until("old") == NOON
    assert holdings.used_until("new") is None


NEEDED = [Use(what="open challenges", count=1)]


@pytest.mark.parametrize(
    ("uses", "forced", "allowed"), [([], False, True), (NEEDED, False, False), (NEEDED, True, True)]
)
def test_a_key_goes_when_nothing_needs_it(uses: list[Use], forced: bool, allowed: bool) -> None:
    """Or somebody confirmed that what needs it may fail."""
    holdings = codes([OLD, new(NOON)], [OLD, new(NOON)])
    plan = revocation(holdings, "old", uses, NOON, forced=forced)
    assert plan is not None
    assert (plan.action, set(plan.services), plan.allowed) == ("remove", {"verifier", "notifier"}, allowed)


def test_a_removal_that_stopped_between_two_files_goes_on() -> None:
    """With the file that still has it; none has it: nothing to do."""
    half = codes([OLD, new(NOON)], [new(NOON)])
    assert revocation(half, "old", [], NOON) == Revocation(
        key_id="old", action="remove", services=("verifier",), uses=(), allowed=True
    )
    assert revocation(codes([new(NOON)], [new(NOON)]), "old", [], NOON) is None


@pytest.mark.parametrize("forced", [False, True])
def test_the_key_in_use_is_never_taken_out(forced: bool) -> None:
    """Not even forced: nothing could be sealed any more. A key set in one file only counts as in use."""
    for holdings in (codes([OLD], [OLD]), codes([OLD, new()], [OLD, new()])):
        with pytest.raises(KeyCurrentError, match="run `countersign keys rotate codes` first"):
            revocation(holdings, "old", [], NOON, forced=forced)
    with pytest.raises(KeyCurrentError):
        revocation(codes([OLD, new(NOON)], [OLD, new()]), "new", [], NOON, forced=forced)


def test_a_key_of_grants_is_retired_before_it_goes() -> None:
    """Retiring harms nobody; then it stays published; forced it goes at once."""
    before = grants(OLD, new(NOON))
    plan = revocation(before, "old", NEEDED, NOON)
    assert plan is not None
    assert (plan.action, plan.allowed) == ("retire", True)
    retired = grants(Entry(key_id="old", active_from=OLD.active_from, retired_at=NOON), new(NOON))
    assert state_of(retired, "old", NOON) == "retired"
    for uses, allowed in ((NEEDED, False), ([], True)):
        plan = revocation(retired, "old", uses, NOON)
        assert plan is not None
        assert (plan.action, plan.allowed) == ("remove", allowed)
    plan = revocation(before, "old", NEEDED, NOON, forced=True)
    assert plan is not None
    assert (plan.action, plan.allowed) == ("remove", True)
