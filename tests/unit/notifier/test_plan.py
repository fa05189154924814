"""Texts that are due: who may leave, who waits, who never leaves. Each limit from both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from countersign.policy import TextLimits
from services.notifier.decide import attempted, doubted, first_of_each, free_at, pause_of, plan, withheld
from services.notifier.model import (
    Answer,
    Candidate,
    Delay,
    Pauses,
    Receipt,
    Recent,
    SealedNumber,
    Send,
    SentTimes,
    State,
    Withhold,
)

if TYPE_CHECKING:
    from services.notifier.model import Step

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
USER, ACCOUNT = uuid4(), uuid4()
PHONE = b"f" * 32
LIMITS = TextLimits()
MINUTE = timedelta(minutes=1)
ENDS = (State.REFUSED, State.SUPPRESSED)


def a_number(**over: Any) -> SealedNumber:
    fields: dict[str, Any] = {
        "user_id": USER,
        "sealed": b"",
        "key_id": "number-1",
        "fingerprint": PHONE,
        "country": "AU",
        "account_members": 2,
    }
    return SealedNumber(**fields | over)


def a_candidate(number: SealedNumber | None = None, **over: Any) -> Candidate:
    fields: dict[str, Any] = {
        "key": (uuid4(), 1),
        "account_id": ACCOUNT,
        "user_id": USER,
        "number_id": USER,
        "expires_at": NOON + 5 * MINUTE,
        "claims": 0,
        "number": number or a_number(),
    }
    return Candidate(**fields | over)


def ago(*minutes: float) -> list[datetime]:
    return [NOON - timedelta(minutes=m) for m in minutes]


def judged(
    candidate: Candidate, *, number: list[datetime] | None = None, account: list[datetime] | None = None
) -> Step:
    recent = Recent({PHONE: SentTimes(number or [])}, {ACCOUNT: SentTimes(account or [])})
    return plan([candidate], recent, LIMITS, room=1, now=NOON)[0]


@pytest.mark.parametrize(
    ("pauses", "paused"),
    [
        (Pauses(), False),
        (Pauses(everything=True), True),
        (Pauses(countries=frozenset({"AU"})), True),
        (Pauses(countries=frozenset({"SE"})), False),
        (Pauses(accounts=frozenset({ACCOUNT})), True),
        (Pauses(accounts=frozenset({uuid4()})), False),
    ],
)
def test_what_people_on_call_stopped_is_suppressed(pauses: Pauses, paused: bool) -> None:
    """All, a country, an account; it counts against no limit."""
    first, second = a_candidate(), a_candidate(a_number(fingerprint=b"g" * 32, country="NZ"), account_id=uuid4())
    steps = plan([first, second], Recent({}, {}), LIMITS, room=2, now=NOON, pauses=pauses)
    assert [type(step) for step in steps] == [
        Withhold if paused else Send,
        Withhold if pauses.everything else Send,
    ]
    if isinstance(steps[0], Withhold):
        assert (steps[0].state, steps[0].reason, steps[0].retry_at) == (State.SUPPRESSED, "paused", None)


def test_a_text_within_all_limits_leaves() -> None:
    """With five in the hour and the last of them 20 s ago."""
    step = judged(a_candidate(), number=ago(1 / 3, 10, 20, 30, 59))
    assert isinstance(step, Send)


@pytest.mark.parametrize(
    ("times", "until"),
    [
        (ago(0.332), NOON + timedelta(seconds=0.08)),
        (ago(0), NOON + timedelta(seconds=20)),
    ],
)
def test_within_the_gap_the_next_waits(times: list[datetime], until: datetime) -> None:
    """Until 20 s after the last."""
    step = judged(a_candidate(), number=times)
    assert isinstance(step, Delay)
    assert step.until == until
    assert step.reason == "number.gap"


def test_what_would_wait_too_long_is_told_at_once() -> None:
    """A delay that leaves under 5 s of life is no delay."""
    step = judged(a_candidate(expires_at=NOON + timedelta(seconds=24)), number=ago(0))
    assert isinstance(step, Withhold)
    assert (step.state, step.reason, step.retry_at) == (State.SUPPRESSED, "number.gap", NOON + timedelta(seconds=20))
    assert isinstance(judged(a_candidate(expires_at=NOON + timedelta(seconds=25)), number=ago(0)), Delay)


HOURLY = ago(1, 10, 20, 30, 40)
DAILY = ago(*range(61, 61 + 14 * 60, 60))


@pytest.mark.parametrize(
    ("number", "account", "reason", "retry_at"),
    [
        ([*HOURLY, *ago(59.9)], [], "number.hour", NOON + timedelta(minutes=0.1)),
        ([*ago(1), *DAILY], [], "number.day", NOON - timedelta(minutes=61 + 13 * 60) + timedelta(days=1)),
        ([], ago(*[1.0] * 35, 50), "account.hour", NOON + timedelta(minutes=10)),
        ([*HOURLY, *ago(59)], ago(*[1.0] * 36), "account.hour", NOON + timedelta(minutes=59)),
    ],
    ids=["hour", "day", "account", "the longest wait is told"],
)
def test_over_a_limit_it_is_suppressed_with_a_time(
    number: list[datetime], account: list[datetime], reason: str, retry_at: datetime
) -> None:
    """The time is when the oldest that counts leaves the window."""
    step = judged(a_candidate(), number=number, account=account)
    assert isinstance(step, Withhold)
    assert (step.state, step.reason) == (State.SUPPRESSED, reason)
    assert step.retry_at == pytest.approx(retry_at, abs=timedelta(milliseconds=1))


@pytest.mark.parametrize(
    ("number", "account"),
    [
        ([*HOURLY, *ago(60)], []),
        ([*ago(1), *DAILY[:-1], *ago(24 * 60)], []),
        ([], ago(*[1.0] * 35, 60)),
    ],
    ids=["hour", "day", "account: 30 + 3 x 2"],
)
def test_just_within_a_limit_it_leaves(number: list[datetime], account: list[datetime]) -> None:
    """The oldest has just left the window."""
    assert isinstance(judged(a_candidate(), number=number, account=account), Send)


def test_each_member_adds_to_the_budget_of_the_account() -> None:
    """36 texts in the hour are too many for two members and not for three."""
    texts = ago(*[1.0] * 36)
    assert isinstance(judged(a_candidate(), account=texts), Withhold)
    assert isinstance(judged(a_candidate(a_number(account_members=3)), account=texts), Send)


@pytest.mark.parametrize(
    ("candidate", "state", "reason", "retry_at"),
    [
        (a_candidate(a_number(country="CU")), State.SUPPRESSED, "country", None),
        (a_candidate(a_number(user_id=uuid4())), State.REFUSED, "number.unknown", None),
        (replace(a_candidate(), number=None), State.REFUSED, "number.unknown", None),
        (
            a_candidate(expires_at=NOON + timedelta(seconds=4.9)),
            State.SUPPRESSED,
            "late",
            NOON + timedelta(seconds=4.9),
        ),
        (a_candidate(expires_at=NOON, held_by="provider.throttled"), State.SUPPRESSED, "provider.throttled", NOON),
    ],
    ids=["country", "another user's number", "no number", "late", "late, and why"],
)
def test_what_never_leaves_ends_with_a_reason(
    candidate: Candidate, state: State, reason: str, retry_at: datetime | None
) -> None:
    """Refused is for good; suppressed may be asked for again."""
    step = judged(candidate)
    assert step == Withhold(candidate, state, reason, retry_at)
    assert withheld(step).state is state


def test_a_policy_without_countries_takes_all() -> None:
    """As the local stack's."""
    limits = TextLimits(countries=None)
    (step,) = plan([a_candidate(a_number(country="CU"))], Recent({}, {}), limits, room=1, now=NOON)
    assert isinstance(step, Send)


def test_texts_of_one_batch_count_against_each_other() -> None:
    """Two to one number: the second waits. 40 to different numbers of one account of two: 36 leave."""
    first, second = a_candidate(), a_candidate()
    assert [type(s) for s in plan([first, second], Recent({}, {}), LIMITS, room=2, now=NOON)] == [Send, Delay]
    many = [a_candidate(a_number(fingerprint=bytes([n]) * 32)) for n in range(40)]
    steps = plan(many, Recent({}, {}), LIMITS, room=40, now=NOON)
    assert [type(s) for s in steps] == [Send] * 36 + [Withhold] * 4


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 400)), max_size=60),
    st.integers(0, 3),
)
def test_no_order_of_batches_breaks_a_limit(arrivals: list[tuple[int, int, int]], members: int) -> None:
    """Property: however texts arrive, no hour holds more than the limits, and a delay never skips the gap."""
    accounts = [UUID(int=1), UUID(int=2)]
    numbers: dict[bytes, list[datetime]] = {}
    left: dict[UUID, list[datetime]] = {}
    now = NOON
    limits = TextLimits(number_hourly_max=3, account_hourly_base=4, account_hourly_per_member=1)
    for phone, account, seconds in arrivals:
        now += timedelta(seconds=seconds)
        number = a_number(fingerprint=bytes([phone]), account_members=members)
        candidate = a_candidate(number, account_id=accounts[account], expires_at=now + 5 * MINUTE)
        recent = Recent(
            {one: SentTimes(at) for one, at in numbers.items()}, {one: SentTimes(at) for one, at in left.items()}
        )
        if isinstance(plan([candidate], recent, limits, room=1, now=now)[0], Send):
            numbers.setdefault(number.fingerprint, []).insert(0, now)
            left.setdefault(accounts[account], []).insert(0, now)
    for times in numbers.values():
        assert all(a - b >= limits.gap for a, b in pairwise(times))
        assert all(a - b >= timedelta(hours=1) for a, b in zip(times, times[3:], strict=False))
    for times in left.values():
        assert all(a - b >= timedelta(hours=1) for a, b in zip(times, times[4 + members :], strict=False))


def test_without_room_nothing_leaves_but_ends_are_told() -> None:
    """A stopped provider is tried by one text; what never leaves is settled all the same."""
    late = a_candidate(expires_at=NOON)
    batch = [a_candidate(a_number(fingerprint=bytes([n]))) for n in range(3)]
    for room, leaving in ((3, batch), (1, batch[:1]), (0, [])):
        steps = plan([late, *batch], Recent({}, {}), LIMITS, room=room, now=NOON)
        assert [step.candidate for step in steps] == [late, *leaving]


def test_a_text_that_finds_no_room_counts_against_nobody() -> None:
    """40 of one account of two members, and room for one: one leaves, and none of the others is suppressed for good."""
    many = [a_candidate(a_number(fingerprint=bytes([n]) * 32)) for n in range(40)]
    assert [type(step) for step in plan(many, Recent({}, {}), LIMITS, room=1, now=NOON)] == [Send]
    nobody = plan([a_candidate(), a_candidate()], Recent({}, {}), LIMITS, room=0, now=NOON)
    assert nobody == [], "the second is not told to wait for the first, which did not leave"


def test_a_limit_of_one_is_a_limit() -> None:
    """The smallest that a policy can name."""
    assert free_at(ago(5), timedelta(hours=1), 1) == NOON + timedelta(minutes=55)
    assert free_at([], timedelta(hours=1), 1) < NOON


@pytest.mark.parametrize(
    ("answer", "state", "segments", "pause"),
    [
        (Answer.ACCEPTED, State.ACCEPTED, 1, 0),
        (Answer.REFUSED, State.REFUSED, 0, 0),
        (Answer.IN_DOUBT, State.UNKNOWN, 1, 0),
        (Answer.NOT_SENT, State.DUE, 0, 4),
        (Answer.STOPPED, State.DUE, 0, 4),
    ],
)
def test_what_an_answer_makes_of_a_text(answer: Answer, state: State, segments: int, pause: float) -> None:
    """Only a text that certainly did not leave is due again, after a growing pause."""
    settled = attempted(a_candidate(claims=2), Receipt(answer, "word"), 1)
    assert (settled.state, settled.segments, settled.pause_seconds) == (state, segments, pause)
    assert (settled.was, settled.claims) == (State.CLAIMED, 3)


def test_a_claim_that_nobody_settled_is_unknown() -> None:
    """Counted as a text: it may have left."""
    settled = doubted((uuid4(), 1), 4)
    assert (settled.was, settled.claims, settled.state, settled.segments) == (State.CLAIMED, 4, State.UNKNOWN, 1)


def test_of_two_settlements_of_one_batch_the_first_counts() -> None:
    """A text that was withheld, leased and withheld again has one end; another claim of it is another settlement."""
    early, late = (withheld(Withhold(a_candidate(key=(USER, 1)), state, "why")) for state in ENDS)
    other = doubted((USER, 1), 1)
    assert first_of_each([early, late, other]) == [early, other]
    assert first_of_each([late, early]) == [late]


def test_pauses_grow_to_8_s() -> None:
    """A throttled text gets many tries in five minutes, but not one a second."""
    assert [pause_of(claims) for claims in range(1, 6)] == [1, 2, 4, 8, 8]
