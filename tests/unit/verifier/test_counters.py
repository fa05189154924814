"""Consecutive failures and their waits, from both sides of each limit."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from services.verifier.counters import failed, wait_after, wait_of
from services.verifier.model import Counter, Wait
from tests.support.challenges import MINUTE, NOON, SECOND

TICK = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 0), (9, 0), (10, 30), (11, 60), (12, 120), (16, 1920), (17, 3600), (18, 3600), (99, 3600), (10_000, 3600)],
)
def test_waits_double_from_thirty_seconds_to_an_hour(failures: int, seconds: int) -> None:
    """NIST SP 800-63B-4, 3.2.2."""
    assert wait_after(failures) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("counter", "unlocked_at", "wait"),
    [
        (Counter(), None, None),
        (Counter(9, NOON), None, None),
        (Counter(10, NOON - 30 * SECOND + TICK), None, Wait(NOON + TICK)),
        (Counter(10, NOON - 30 * SECOND), None, None),
        (Counter(99, NOON - 59 * MINUTE), None, Wait(NOON + MINUTE)),
        (Counter(99, NOON - 60 * MINUTE), None, None),
        (Counter(100, NOON - timedelta(days=365)), None, Wait(None)),
        (Counter(100, NOON - MINUTE), NOON - MINUTE, Wait(None)),
        (Counter(100, NOON - MINUTE), NOON - MINUTE + TICK, None),
        (Counter(10, NOON), NOON - TICK, Wait(NOON + 30 * SECOND)),
        (Counter(10, NOON - SECOND), NOON, None),
    ],
)
def test_a_counter_waits_or_is_locked(counter: Counter, unlocked_at: datetime | None, wait: Wait | None) -> None:
    """At a hundred only an account manager helps, and only for failures before that act."""
    assert wait_of(counter, unlocked_at, NOON) == wait


def test_counting_goes_on_after_a_wait_and_anew_after_an_unlock() -> None:
    """Serving the wait clears nothing; being unlocked does."""
    assert failed(Counter(10, NOON - MINUTE), None, NOON) == Counter(11, NOON)
    assert failed(Counter(100, NOON - MINUTE), NOON - SECOND, NOON) == Counter(1, NOON)
    assert failed(Counter(3, NOON - SECOND), NOON - MINUTE, NOON) == Counter(4, NOON)
