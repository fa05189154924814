"""Consecutive failures and the waits they bring, pure.

NIST SP 800-63B-4, 3.2.2: at most 100 consecutive failed attempts on an account, growing waits of 30 s up to an hour in
between; 3.1.3.2: a new secret does not reset the count, so it is kept with the user and not with the challenge.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from services.verifier.model import Counter, Wait

if TYPE_CHECKING:
    from datetime import datetime

FAILURES_FREE = 10  # ours: two challenges of honest mistyping
WAIT_FIRST = timedelta(seconds=30)  # NIST SP 800-63B-4, 3.2.2
WAIT_LONGEST = timedelta(hours=1)  # NIST SP 800-63B-4, 3.2.2
FAILURES_MAX = 100  # NIST SP 800-63B-4, 3.2.2


def since_unlocked(counter: Counter, unlocked_at: datetime | None) -> Counter:
    """Return the counter as it counts: nothing, once the user was unlocked after the last failure."""
    if unlocked_at is not None and counter.last_failed_at is not None and unlocked_at > counter.last_failed_at:
        return Counter()
    return counter


def wait_of(counter: Counter, unlocked_at: datetime | None, now: datetime) -> Wait | None:
    """Return how long no answer of this counter is judged, None if one is."""
    counts = since_unlocked(counter, unlocked_at)
    if counts.failures >= FAILURES_MAX:
        return Wait(None)
    if counts.failures < FAILURES_FREE or counts.last_failed_at is None:
        return None
    until = counts.last_failed_at + wait_after(counts.failures)
    return Wait(until) if now < until else None


def wait_after(failures: int) -> timedelta:
    """Return the wait after that many consecutive failures: 30 s from the tenth, doubling to an hour."""
    if failures < FAILURES_FREE:
        return timedelta(0)
    doublings = min(failures - FAILURES_FREE, 10)
    return min(WAIT_LONGEST, WAIT_FIRST * (1 << doublings))


def failed(counter: Counter, unlocked_at: datetime | None, now: datetime) -> Counter:
    """Return the counter after one more failure."""
    return Counter(since_unlocked(counter, unlocked_at).failures + 1, now)
