"""The gateway's rules, each limit from both sides."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from countersign.contract import (
    Actor,
    MemberRemoved,
    NumberConfirmed,
    NumberReplaced,
    NumberReset,
    PlacesForgotten,
    TwoFactorDisabled,
    TwoFactorEnabled,
    UserUnlocked,
)
from services.gateway.decide import (
    COMMITTED_WITHIN,
    DECIDED_WITHIN,
    DEVICE_RATE,
    EMAIL_RATE,
    IDLE_MAX,
    LIFE_MAX,
    PLACE_RATE,
    TOUCH_EVERY,
    alive,
    ending_of,
    folded,
    given_up,
    may_use,
    needs_touch,
    tries_of,
)
from services.gateway.model import Ending, Session, Site, Stage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
ACCOUNT, USER, NUMBER = uuid4(), uuid4(), uuid4()
DIGEST = "A" * 43


def a_session(**over: object) -> Session:
    session = Session(
        site=Site.PAGES,
        stage=Stage.SIGNED_IN,
        user_id=USER,
        account_id=ACCOUNT,
        name="Olga",
        email="olga@example.com",
        staff=False,
        request_id=uuid4(),
        req=None,
        method="sms",
        begun_at=NOON,
        used_at=NOON,
        now=NOON,
    )
    return replace(session, **over)  # type: ignore[arg-type] # the caller names fields


@pytest.mark.parametrize(
    ("session", "counts"),
    [
        (a_session(now=NOON + IDLE_MAX - TICK), True),
        (a_session(now=NOON + IDLE_MAX), False),
        (a_session(now=NOON + LIFE_MAX - TICK, used_at=NOON + LIFE_MAX - TICK), True),
        (a_session(now=NOON + LIFE_MAX, used_at=NOON + LIFE_MAX), False),
    ],
)
def test_a_session_lives_half_an_hour_idle_and_half_a_day_in_all(session: Session, counts: bool) -> None:
    """Both limits, from both sides."""
    assert alive(session) is counts


def test_use_is_written_once_a_minute() -> None:
    """A page that is looked at every second writes no row every second."""
    assert not needs_touch(a_session(now=NOON + TOUCH_EVERY - TICK))
    assert needs_touch(a_session(now=NOON + TOUCH_EVERY))


def test_a_login_is_given_up_after_150_seconds() -> None:
    """Only one that is pending."""
    pending = a_session(stage=Stage.PENDING, method=None)
    assert not given_up(replace(pending, now=NOON + DECIDED_WITHIN - TICK))
    assert given_up(replace(pending, now=NOON + DECIDED_WITHIN))
    assert not given_up(a_session(now=NOON + DECIDED_WITHIN))


@pytest.mark.parametrize(
    ("staff", "site", "may"),
    [(False, Site.PAGES, True), (False, Site.CONSOLE, False), (True, Site.PAGES, False), (True, Site.CONSOLE, True)],
)
def test_who_signs_in_where(staff: bool, site: Site, may: bool) -> None:
    """Account managers at the console, everybody else on the pages."""
    assert may_use(staff=staff, site=site) is may


@pytest.mark.parametrize(
    "spelt", ["olga@example.com", " Olga@Example.COM ", "\uff4flga@example.com", "\u200eolga@exam\u00adple.com"]
)
def test_spellings_of_one_address(spelt: str) -> None:
    """Case, white space, full-width letters and unseen characters make no other person."""
    assert folded(spelt) == "olga@example.com"


def test_strange_places_share_one_budget_and_known_ones_have_their_own() -> None:
    """An outsider cannot use up the tries of the computer that the owner sits at."""
    here, there = "192.0.2.1/32", "192.0.2.2/32"
    strange = [tries_of("olga@example.com", place, place_known=False)[1].key for place in (here, there, None)]
    known = tries_of("olga@example.com", here, place_known=True)[1].key
    assert len(set(strange)) == 1
    assert known not in strange
    assert tries_of("ben@example.com", here, place_known=True)[1].key != known


def test_a_try_counts_against_its_place_and_its_address() -> None:
    """The place's budget is the same whoever is tried from there."""
    one, other = (tries_of(email, "192.0.2.1/32", place_known=False) for email in ("a@example.com", "b@example.com"))
    assert one[0] == other[0]
    assert [t.rate for t in one] == [PLACE_RATE, EMAIL_RATE]


def test_a_browser_that_has_logged_in_before_has_tries_of_its_own() -> None:
    """Neither strangers nor whoever shares its place can use them up, and another browser's are others."""
    here, mine, other = "192.0.2.1/32", b"a" * 16, b"b" * 16
    (alone,) = tries_of("olga@example.com", here, place_known=False, device=mine)
    assert alone.rate == DEVICE_RATE
    others = [
        *tries_of("olga@example.com", here, place_known=False),
        *tries_of("olga@example.com", here, place_known=True),
        *tries_of("olga@example.com", here, place_known=False, device=other),
        *tries_of("ben@example.com", here, place_known=False, device=mine),
    ]
    assert alone.key not in {t.key for t in others}
    assert tries_of("olga@example.com", None, place_known=True, device=mine) == (alone,)


def test_a_day_of_tries_stays_under_a_hundred() -> None:
    """NIST SP 800-63B-4, 3.2.2."""
    assert EMAIL_RATE.burst + timedelta(days=1) / EMAIL_RATE.every < 100


CHANGE = {"account_id": ACCOUNT, "version": 3, "actor": Actor(kind="system"), "chain_head": DIGEST}


@pytest.mark.parametrize(
    ("event", "user_id", "place"),
    [
        (MemberRemoved(account_id=ACCOUNT, user_id=USER, version=2), USER, None),
        (NumberReset(**CHANGE, user_id=USER), USER, None),
        (PlacesForgotten(**CHANGE), None, None),
        (PlacesForgotten(**CHANGE, user_id=USER, place="192.0.2.1/32"), USER, "192.0.2.1/32"),
        (TwoFactorDisabled(**CHANGE), None, None),
    ],
)
def test_whose_sessions_an_event_ends(event: MemberRemoved, user_id: UUID | None, place: str | None) -> None:
    """Removed, reset, forgotten, turned off."""
    key = f"{event.ce_type}:{event.natural_key()}"
    assert ending_of(event, NOON, NOON) == Ending(key, ACCOUNT, user_id, place, NOON + COMMITTED_WITHIN)


def test_a_replaced_number_ends_all_sessions_but_the_one_it_was_done_in() -> None:
    """Who sits at another computer has seen no code."""
    ending = ending_of(NumberReplaced(**CHANGE, user_id=USER, number_id=NUMBER), NOON, NOON)
    assert ending is not None
    assert (ending.user_id, ending.place, ending.but_of_number) == (USER, None, NUMBER)


@pytest.mark.parametrize("kind", [NumberConfirmed, TwoFactorEnabled, UserUnlocked])
def test_other_changes_leave_sessions_alone(kind: type[NumberReset]) -> None:
    """They bind from the next login on."""
    assert ending_of(kind(**CHANGE, user_id=USER), NOON, NOON) is None


def test_an_event_older_than_any_session_ends_none() -> None:
    """Whoever reads the topic from its start throws nobody out."""
    event, limit = MemberRemoved(account_id=ACCOUNT, user_id=USER, version=2), LIFE_MAX + timedelta(hours=1)
    assert ending_of(event, NOON, NOON + limit - TICK) is not None
    assert ending_of(event, NOON, NOON + limit) is None
