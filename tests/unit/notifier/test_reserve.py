"""The reserve of the text limits: what texts asked for from new places can never use up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.policy import TextLimits
from services.notifier.decide import plan
from services.notifier.model import Candidate, Delay, Recent, SealedNumber, Send, SentTimes, Withhold

if TYPE_CHECKING:
    from services.notifier.model import Step

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
USER, ACCOUNT, PHONE = uuid4(), uuid4(), b"f" * 32
NUMBER = SealedNumber(USER, b"", "number-1", PHONE, "AU", 2)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LIMITS = TextLimits()


def a_text(now: datetime = NOON, *, reserved: bool) -> Candidate:
    return Candidate((uuid4(), 1), ACCOUNT, USER, uuid4(), now + timedelta(minutes=5), 0, NUMBER, reserved=reserved)


def ago(*minutes: float) -> list[datetime]:
    return [NOON - timedelta(minutes=m) for m in minutes]


def judged(number: SentTimes, account: SentTimes | None = None, *, reserved: bool, limits: TextLimits = LIMITS) -> Step:
    recent = Recent({PHONE: number}, {ACCOUNT: account or SentTimes()})
    return plan([a_text(reserved=reserved)], recent, limits, room=1, now=NOON)[0]


HOUR_FULL = ago(1, 2, 3, 4, 5, 50)
DAY_FULL = ago(*range(61, 61 + 15 * 60, 60))
ACCOUNT_FULL = ago(*[1.0] * 35, 50)  # 30 + 3 x 2


@pytest.mark.parametrize(
    ("number", "account"),
    [(HOUR_FULL, []), (DAY_FULL, []), ([], ACCOUNT_FULL), (HOUR_FULL, ACCOUNT_FULL)],
    ids=["hour", "day", "account", "both"],
)
def test_what_ordinary_texts_used_up_leaves_the_reserve(number: list[datetime], account: list[datetime]) -> None:
    """An ordinary text is held back, a reserved one leaves and is counted by the reserve."""
    assert isinstance(judged(SentTimes(number), SentTimes(account), reserved=False), Withhold)
    step = judged(SentTimes(number), SentTimes(account), reserved=True)
    assert isinstance(step, Send)
    assert step.from_reserve


def test_a_reserved_text_uses_the_ordinary_limits_first() -> None:
    """So the whole reserve is left when somebody else uses them up."""
    step = judged(SentTimes(HOUR_FULL[:5]), reserved=True)
    assert isinstance(step, Send)
    assert not step.from_reserve


@pytest.mark.parametrize(
    ("number", "account", "reason", "retry_at"),
    [
        (SentTimes(HOUR_FULL, ago(1, 2, 3, 55)), SentTimes(), "number.hour", NOON + timedelta(minutes=5)),
        (SentTimes(HOUR_FULL, ago(1, 2, 3, 15)), SentTimes(), "number.hour", NOON + timedelta(minutes=10)),
        (
            SentTimes(DAY_FULL, ago(*range(70, 78))),
            SentTimes(),
            "number.day",
            NOON - timedelta(minutes=61 + 14 * 60) + DAY,
        ),
        (SentTimes(), SentTimes(ACCOUNT_FULL, ago(*[1.0] * 11, 55)), "account.hour", NOON + timedelta(minutes=5)),
    ],
    ids=["the reserve is free first", "the ordinary limit is free first", "day", "account: 10 + 1 x 2"],
)
def test_the_reserve_has_an_end(number: SentTimes, account: SentTimes, reason: str, retry_at: datetime) -> None:
    """The time told is when either of the two has room again."""
    step = judged(number, account, reserved=True)
    assert isinstance(step, Withhold)
    assert (step.reason, step.retry_at) == (reason, retry_at)


def test_the_gap_counts_every_text() -> None:
    """A phone rings no more often for it."""
    assert isinstance(judged(SentTimes(HOUR_FULL, ago(0.1)), reserved=True), Delay)
    assert isinstance(judged(SentTimes((), ago(0.1)), reserved=False), Delay)


def test_a_policy_without_a_reserve_has_none() -> None:
    """0 is a limit: reserved texts are then as others."""
    limits = TextLimits(reserve_hourly=0, reserve_daily=0)
    step = judged(SentTimes(HOUR_FULL), reserved=True, limits=limits)
    assert isinstance(step, Withhold)
    assert step.retry_at == NOON + timedelta(minutes=10)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1500)), max_size=80))
def test_no_arrivals_break_the_reserve_or_the_limits(arrivals: list[tuple[bool, int]]) -> None:
    """Property: others never leave above the ordinary limits, all never above both, and the reserve is always there."""
    limits = TextLimits(
        gap=timedelta(0),
        number_hourly_max=2,
        number_daily_max=4,
        reserve_hourly=1,
        reserve_daily=2,
        account_hourly_base=3,
    )
    left, now = SentTimes(), NOON
    sent: list[tuple[datetime, bool]] = []
    for reserved, seconds in arrivals:
        now += timedelta(seconds=seconds)
        step = plan([a_text(now, reserved=reserved)], Recent({PHONE: left}, {ACCOUNT: left}), limits, room=1, now=now)[
            0
        ]
        if isinstance(step, Send):
            assert reserved or not step.from_reserve
            sent.append((now, reserved))
            left = (
                SentTimes(left.ordinary, [now, *left.reserve])
                if step.from_reserve
                else SentTimes([now, *left.ordinary], left.reserve)
            )
        elif reserved:
            mine = [at for at, was_reserved in sent if was_reserved]
            assert sum(now - at < HOUR for at in mine) >= 1 or sum(now - at < DAY for at in mine) >= 2
    for times, hourly, daily in (([at for at, one in sent if not one], 2, 4), ([at for at, _ in sent], 3, 6)):
        assert all(b - a >= HOUR for a, b in zip(times, times[hourly:], strict=False))
        assert all(b - a >= DAY for a, b in zip(times, times[daily:], strict=False))
