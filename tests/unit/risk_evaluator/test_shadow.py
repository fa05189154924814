"""Recorded requests by another policy, without servers: what only time, numbers, holds and odd records show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest

from countersign.contract import req_of
from countersign.policy import ExportRules, PlaceRules, Policy, RequestLimits
from services.risk_evaluator.decide import PLACE_WRITTEN_EVERY
from services.risk_evaluator.shadow.model import Window
from services.risk_evaluator.shadow.places import Places
from services.risk_evaluator.shadow.recorded import outcome_of
from services.risk_evaluator.shadow.redecide import OPEN_MAX, Shadow
from tests.support.events import (
    a_client,
    a_number_confirmed,
    a_number_replaced,
    a_number_reset,
    a_places_forgotten,
    a_record,
    an_access_assessed,
    an_access_denied,
    an_access_granted,
    an_access_requested,
)

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Record
    from services.risk_evaluator.shadow.model import Tally

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ANYWHERE = PlaceRules(unusable=())
RUNNING = Policy(version="old", places=ANYWHERE)
ACCOUNT, USER = UUID(int=1), UUID(int=2)


def a_policy(**over: Any) -> Policy:
    """Return the running policy with other rules, under another name."""
    return Policy.model_validate({"version": "new", "places": ANYWHERE} | over)


class Tape:
    """Records in order, a second apart; each as the topics hold it."""

    def __init__(self, policy: Policy, *, log_begins: datetime = NOON - 7 * DAY) -> None:
        self.now = NOON
        self.shadow = Shadow(policy, RUNNING, Window(NOON - 7 * DAY, NOON + 100 * DAY, log_begins))

    def put(self, event: Any, *, made_at: datetime | None = None, value: bytes | None = None) -> Record:
        self.now += SECOND
        record = a_record(event, at=made_at or self.now, appended_at=self.now, value=value)
        self.shadow.take(record)
        return record

    def asked(self, *reasons: str, **over: Any) -> Any:
        """Put a request and its assessment for these reasons."""
        ids = {"account_id": ACCOUNT, "user_id": USER} | over
        known = ids.pop("place_known", "ip.known" in reasons)
        judged_as = ids.pop("place", "203.0.113.7/32")
        event = an_access_requested(**ids)
        record = self.put(event)
        fields = {name: getattr(event, name) for name in ("request_id", "account_id", "user_id", "action", "client")}
        self.put(
            an_access_assessed(
                **fields,
                outcome=outcome_of(reasons),  # type: ignore[arg-type] # reasons as text
                reasons=list(reasons),
                place=judged_as,
                place_known=known,
                req=req_of(record.value or b""),
            )
        )
        return event

    def granted(self, event: Any) -> None:
        ids = {name: getattr(event, name) for name in ("request_id", "account_id", "user_id", "action")}
        self.put(an_access_granted(**ids))

    def login(self, *reasons: str, **over: Any) -> None:
        self.granted(self.asked(*reasons, **over))

    def changes(self) -> list[tuple[str, str, int]]:
        return [(old, new, count) for (_, old, new), count in sorted(self.end().changes.items())]

    def end(self) -> Tally:
        return self.shadow.end()


def test_an_idle_place_is_new_again() -> None:
    """`forget_after`, from both sides, to the hour that uses are written in."""
    for waits, new in ((timedelta(days=10) - SECOND, "allow"), (timedelta(days=10) + SECOND, "challenge")):
        tape = Tape(a_policy(places=PlaceRules(unusable=(), forget_after=timedelta(days=10))))
        tape.login("ip.new")
        tape.now += waits - 3 * SECOND
        tape.asked("ip.known")
        assert ("allow", new, 1) in tape.changes()


def test_a_place_ends_in_all_and_begins_anew_with_a_code() -> None:
    """`life_max`: however often it was used."""
    tape = Tape(a_policy(places=PlaceRules(unusable=(), life_max=timedelta(days=10))))
    tape.login("ip.new")
    tape.now += 9 * DAY
    tape.login("ip.known")
    tape.now += 2 * DAY
    tape.login("ip.known")
    tape.now += 2 * DAY
    tape.login("ip.known")
    assert tape.changes() == [("allow", "allow", 2), ("allow", "challenge", 1), ("challenge", "challenge", 1)]


def test_a_place_in_daily_use_is_written_hourly_as_the_service_does() -> None:
    places = Places(ANYWHERE.model_copy(update={"forget_after": DAY}))
    for minutes in (0, 59):
        places.learn(ACCOUNT, "203.0.113.7/32", USER, NOON + timedelta(minutes=minutes))
    assert not places.is_known(ACCOUNT, "203.0.113.7/32", USER, NOON + DAY)
    places.learn(ACCOUNT, "203.0.113.7/32", USER, NOON + PLACE_WRITTEN_EVERY)
    assert places.is_known(ACCOUNT, "203.0.113.7/32", USER, NOON + DAY)


@pytest.mark.parametrize(
    ("forgotten", "left"),
    [
        ({"place": "203.0.113.7/32"}, False),
        ({"place": "203.0.113.9/32"}, False),  # of the same /24
        ({"place": "203.0.112.0/22"}, False),  # was cut wider
        ({"place": "203.0.114.7/32"}, True),
        ({"user_id": USER}, False),
        ({"user_id": uuid4()}, True),
        ({"account_id": uuid4()}, True),
        ({}, False),
    ],
)
def test_a_place_that_was_forgotten_is_forgotten_however_it_is_cut(forgotten: dict[str, Any], left: bool) -> None:
    """And a grant from before, read later, does not bring it back."""
    tape = Tape(a_policy(places=PlaceRules(unusable=(), prefix_v4=24)))
    late = tape.asked("ip.new")
    tape.login("ip.new")
    before = tape.now
    tape.put(a_places_forgotten(**({"account_id": ACCOUNT} | forgotten)))
    ids = {name: getattr(late, name) for name in ("request_id", "account_id", "user_id", "action")}
    tape.put(an_access_granted(**ids), made_at=before)
    tape.asked("ip.new")
    changes = tape.changes()
    assert (("challenge", "allow", 1) in changes) is left


@pytest.mark.parametrize(
    ("told", "new", "assumed"),
    [
        ([], "challenge", 1),
        ([a_number_confirmed(account_id=ACCOUNT, user_id=USER)], "challenge", 0),
        ([a_number_reset(account_id=ACCOUNT, user_id=USER)], "deny", 0),
        (["ip.new", "number.missing"], "deny", 0),
        (["export.always"], "challenge", 0),
    ],
)
def test_whether_a_code_could_be_sent_is_told_by_settings_and_judgements(
    told: list[Any], new: str, assumed: int
) -> None:
    """A log-in that needed no code says nothing of the number; where nothing does, there is taken to be one."""
    tape = Tape(a_policy(places=PlaceRules(unusable=(), prefix_v4=32, scope="user")))
    if told and isinstance(told[0], str):
        tape.asked(*told, action="export" if told[0] == "export.always" else "login")
    elif told:
        tape.put(told[0])
    tape.login("ip.new", user_id=uuid4())  # a colleague's place
    tape.asked("ip.known")
    tally = tape.end()
    assert tally.changes["login", "allow", new] == 1
    assert tally.numbers_assumed == assumed


@pytest.mark.parametrize(("hours", "new"), [(24, "deny"), (48, "deny"), (2, "challenge"), (0, "challenge")])
def test_exports_are_held_by_the_new_hold(hours: int, new: str) -> None:
    """As recorded under the same hold, else from the changes that the settings tell."""
    tape = Tape(a_policy(exports=ExportRules(hold=timedelta(hours=hours))))
    tape.put(a_number_replaced(account_id=ACCOUNT, user_id=USER))
    tape.now += timedelta(hours=5)
    tape.asked("export.always", "number.recent", action="export")
    assert tape.changes() == [("deny", new, 1)]


def test_how_old_a_request_may_be_goes_by_when_it_was_judged() -> None:
    """A request that waited for 90 s is stale to a policy that allows one minute."""
    tape = Tape(a_policy(requests=RequestLimits(age_max=timedelta(minutes=1))))
    event = an_access_requested(account_id=ACCOUNT, user_id=USER)
    record = tape.put(event)
    tape.now += timedelta(seconds=90)
    ids = {name: getattr(event, name) for name in ("request_id", "account_id", "user_id", "client")}
    tape.put(an_access_assessed(**ids, req=req_of(record.value or b"")))
    assert tape.changes() == [("challenge", "deny", 1)]


@pytest.mark.parametrize(
    ("reasons", "outcome"),
    [(("member.unknown",), "deny"), (("two_factor.off",), "allow"), (("ip.absent", "number.missing"), "deny")],
)
def test_what_a_policy_does_not_change_stays(reasons: tuple[str, ...], outcome: str) -> None:
    """Strangers, accounts with two-factor off, people without a number."""
    tape = Tape(a_policy(places=PlaceRules(unusable=(), prefix_v4=8)))
    client = a_client(ip=None) if "ip.absent" in reasons else a_client()
    tape.asked(*reasons, client=client, place=None)
    tally = tape.end()
    assert dict(tally.changes) == {("login", outcome, outcome): 1}
    assert tally.reasons_alone == 0


def test_an_account_manager_is_always_asked() -> None:
    """Also from a known place."""
    tape = Tape(a_policy(places=PlaceRules(unusable=(), prefix_v4=24)))
    tape.login("action.always")
    tape.login("action.always")
    assert tape.changes() == [("challenge", "challenge", 2)]


def test_a_request_without_an_assessment_is_judged_by_its_decision() -> None:
    """The decision repeats the reasons; an assessment that comes before its request waits for it."""
    tape = Tape(RUNNING)
    for end in (an_access_denied, an_access_granted):
        event = an_access_requested(account_id=ACCOUNT, user_id=USER)
        tape.put(event)
        ids = {name: getattr(event, name) for name in ("request_id", "account_id", "user_id", "action")}
        tape.put(end(**ids))
    early = an_access_requested(account_id=uuid4())
    record = a_record(early, at=tape.now)
    fields = {name: getattr(early, name) for name in ("request_id", "account_id", "user_id", "client")}
    tape.put(an_access_assessed(**fields, req=req_of(record.value or b"")))
    tape.put(early)
    tape.asked("ip.known")
    assert tape.changes() == [("allow", "allow", 1), ("challenge", "challenge", 3)]


def test_a_copy_that_was_not_judged_is_left_out() -> None:
    """Another value under the same id: which one was judged, the hash tells."""
    tape = Tape(RUNNING)
    event = an_access_requested(account_id=ACCOUNT)
    tape.put(event)
    fields = {name: getattr(event, name) for name in ("request_id", "account_id", "user_id", "client")}
    tape.put(an_access_assessed(**fields, req="B" * 43))
    tally = tape.end()
    assert (tally.changes.total(), tally.disputed) == (0, 1)


def test_what_never_ends_is_not_held_for_ever() -> None:
    """Memory goes by what is open, and a day is the longest that anything is."""
    tape = Tape(RUNNING)
    for _ in range(50):
        tape.put(an_access_requested())
    assert tape.shadow.open_requests == 50
    tape.now += OPEN_MAX
    tape.put(an_access_requested())
    assert tape.shadow.open_requests == 1
    assert tape.end().unjudged == 51


def test_a_place_from_before_the_log_counts_no_longer_than_the_log_allows() -> None:
    """The service knew it by its own policy; by one that forgets sooner than the log begins it is forgotten."""
    for days, new in ((8, "allow"), (6, "challenge")):
        rules = PlaceRules(unusable=(), forget_after=timedelta(days=days))
        tape = Tape(a_policy(places=rules), log_begins=NOON - 7 * DAY)
        tape.asked("ip.known")
        assert tape.changes() == [("allow", new, 1)]
