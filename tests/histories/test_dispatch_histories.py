"""Texts: two notifiers that claim, send, die, sleep and settle in any order; nobody gets a text twice."""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from services.notifier.sending import Claim
from tests.histories.notifier import REPLIES, Notifiers, Text, two_notifiers
from tests.support.histories import a_ground, histories, same
from tests.support.sns_stand_in import Reply

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from services.notifier.model import Settlement, TextKey
    from tests.histories.notifier import Notifier
    from tests.support.notifier import Challenge, Person
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

GAP, LIFE_LEFT, CLAIM = timedelta(seconds=20), timedelta(seconds=5), timedelta(seconds=30)
HOURLY, DAILY, RESERVE_HOURLY, RESERVE_DAILY = 3, 5, 1, 2
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ENDS = {"accepted", "refused", "suppressed", "unknown"}
STORED = "SELECT challenge_id, send, state, claims, counted_at, number_fingerprint FROM notifier.dispatch"


class DispatchHistory(RuleBasedStateMachine):
    """Two people, two notifiers, and an SNS that fails in every way."""

    # A claim is good by the monotonic clock, which nobody moves: who `slept` has it run out.

    issued = Bundle("issued")

    def __init__(self, around: Notifiers) -> None:
        super().__init__()
        self.around, self.ground, self.sns = around, around.ground, around.sns
        self.run = self.ground.run
        self.people: list[Person] = []
        self.texts: dict[TextKey, Text] = {}
        self.told: Counter[TextKey] = Counter()
        self.sent_before = len(self.sns.publishes)
        for notifier in around.both:
            notifier.taken.clear()
            notifier.acted.clear()
        self.run(self.ground.begin_anew())

    @initialize(target=issued)
    def there_are_people(self) -> Any:
        self.people = [self.run(self.around.near.person()) for _ in range(2)]
        return multiple(self._issue(0, 300), self._issue(1, 300))

    # challenges

    @rule(target=issued, nth=st.integers(0, 1), life=st.sampled_from([300, 300, 300, 40, 6, 4]), reserved=st.booleans())
    def issue(self, nth: int, life: int, reserved: bool) -> Challenge:
        return self._issue(nth, life, reserved=reserved)

    @rule(target=issued, before=issued)
    def issue_another_text(self, before: Challenge) -> Any:
        send = 1 + max(send for challenge_id, send in self.texts if challenge_id == before.event.challenge_id)
        if send > 4:
            return multiple()
        person = next(one for one in self.people if one.user_id == before.event.user_id)
        event = before.event
        return self._take_in(
            self.around.near.challenge(
                person,
                challenge_id=event.challenge_id,
                send=send,
                expires_at=event.expires_at,
                reserved=event.reserved,
            )
        )

    def _issue(self, nth: int, life: int, *, reserved: bool = False) -> Challenge:
        # Texts leave in the order of their ids where their time is the same: one history is the same each time.
        challenge_id, expires_at = UUID(int=len(self.texts) + 1), self.ground.at + timedelta(seconds=life)
        challenge = self.around.near.challenge(
            self.people[nth], challenge_id=challenge_id, expires_at=expires_at, reserved=reserved
        )
        return self._take_in(challenge)

    def _take_in(self, challenge: Challenge) -> Challenge:
        text = self.texts[challenge.key] = Text(challenge)
        late = challenge.event.expires_at - self.ground.at < LIFE_LEFT
        text.state = "suppressed" if late else "due"
        same([], self.run(self.around.both[0].fold(self.ground, challenge)))
        self._hear()
        return challenge

    @rule(again=st.lists(issued, min_size=1, max_size=4), which=st.integers(0, 1))
    def read_again(self, again: list[Challenge], which: int) -> None:
        same([], self.run(self.around.both[which].fold(self.ground, *again)))

    @rule(challenge=issued, change=st.sampled_from(["number_id", "send", "expires_at", "summary", "reserved"]))
    def somebody_changes_a_record(self, challenge: Challenge, change: str) -> None:
        changed: dict[str, dict[str, Any]] = {
            "number_id": {"number_id": UUID(int=7)},
            "send": {"send": 9},
            "expires_at": {"expires_at": challenge.event.expires_at + timedelta(days=1)},
            "summary": {"summary": challenge.event.summary.model_copy(update={"what": "nothing of worth"})},
            "reserved": {"reserved": not challenge.event.reserved},
        }
        forged = dataclasses.replace(challenge, event=challenge.event.model_copy(update=changed[change]))
        assert len(self.run(self.around.both[0].fold(self.ground, forged))) == 1

    # sending

    @rule(which=st.integers(0, 1), limit=st.integers(1, 5))
    def claim(self, which: int, limit: int) -> None:
        for item in self.run(self.around.both[which].take(limit)):
            if not isinstance(item, Claim):
                self._reserve_was_used_up(item)
                continue
            text = self.texts[item.step.candidate.key]
            same("due", text.state)
            assert text.challenge.event.expires_at - self.ground.at >= LIFE_LEFT, "a text that arrives dead"
            text.state, text.claimed, text.claims = "claimed", self.ground.at, text.claims + 1
            text.may_have_left.append(self.ground.at)

    @precondition(lambda self: any(one.taken for one in self.around.both))
    @rule(which=st.integers(0, 1), reply=st.sampled_from(list(REPLIES)), slept=st.sampled_from([False, False, True]))
    def send(self, which: int, reply: Reply, slept: bool) -> None:
        """Act on the first claim; one who slept through its ten seconds leaves it alone."""
        notifier = self.around.both[which]
        if not notifier.taken:
            return
        item = notifier.taken.pop(0)
        if isinstance(item, Claim):
            if slept:
                item = dataclasses.replace(item, good_until=0.0)
            self.sns.will_answer(self._number_of(item.step.candidate.key), reply)
        arrived = len(self.sns.publishes)
        settlement = self.run(notifier.texts.act(item))
        notifier.acted.append(settlement)
        if isinstance(item, Claim):
            same("due" if slept else REPLIES[reply], str(settlement.state))
        same(int(isinstance(item, Claim) and not slept), len(self.sns.publishes) - arrived)
        self.sns._replies.clear()  # noqa: SLF001 - an answer that nobody asked for

    @precondition(lambda self: any(one.acted for one in self.around.both))
    @rule(which=st.integers(0, 1))
    def settle(self, which: int) -> None:
        for settlement in self.run(self.around.both[which].settle()):
            self._settled(settlement)
        self._hear()

    @rule(which=st.integers(0, 1), reply=st.sampled_from(list(REPLIES)))
    def claim_send_and_settle(self, which: int, reply: Reply) -> None:
        self.claim(which, 5)
        while self.around.both[which].taken:
            self.send(which, reply, slept=False)
        self.settle(which)

    @rule(which=st.integers(0, 1), reply=st.sampled_from(list(REPLIES)))
    def settle_too_late(self, which: int, reply: Reply) -> None:
        self.claim(which, 5)
        while self.around.both[which].taken:
            self.send(which, reply, slept=False)
        self.pass_time(31)
        self.doubt()
        self.settle(which)

    @rule(which=st.integers(0, 1), sent=st.booleans())
    def die(self, which: int, sent: bool) -> None:
        """Lose what was claimed, and what was sent but not settled."""
        notifier: Notifier = self.around.both[which]
        if sent:
            while notifier.taken:
                self.send(which, Reply.ACCEPTED, slept=False)
        notifier.taken.clear()
        notifier.acted.clear()

    @rule()
    def doubt(self) -> None:
        self.run(self.around.both[0].doubt())
        for text in self.texts.values():
            if text.claimed is not None and self.ground.at - text.claimed > CLAIM:
                text.state, text.claimed = "unknown", None
        self._hear()

    @rule(seconds=st.sampled_from([1, 9, 20, 31, 296, 3545]))
    def pass_time(self, seconds: int) -> None:
        self.run(self.ground.pass_time(seconds))

    @precondition(lambda self: len(self.texts) % 3 == 0)
    @rule(nth=st.integers(0, 1))
    def a_number_is_erased(self, nth: int) -> None:
        sql = "UPDATE enrolment.phone_number SET state = 'replaced', ended_at = now(), sealed = NULL WHERE user_id = $1"
        self.run(self.ground.db.execute(sql, self.people[nth].user_id))

    # what holds

    def _reserve_was_used_up(self, withheld: Settlement) -> None:
        """Check that texts of others never keep a reserved one from leaving."""
        challenge = self.texts[withheld.key].challenge
        if not challenge.event.reserved or withheld.reason not in {"number.hour", "number.day"}:
            return
        left = [self.ground.at - at for at in self._left(challenge.event.user_id, reserved=True)]
        assert sum(ago < HOUR for ago in left) >= RESERVE_HOURLY or sum(ago < DAY for ago in left) >= RESERVE_DAILY

    def _left(self, user_id: UUID, *, reserved: bool) -> list[datetime]:
        """Return when texts of a person may have left, those that may use the reserve or the others."""
        found = [text for text in self.texts.values() if text.challenge.event.user_id == user_id]
        return sorted(at for text in found if text.challenge.event.reserved is reserved for at in text.may_have_left)

    def _number_of(self, key: TextKey) -> str:
        user_id = self.texts[key].challenge.event.user_id
        return next(one.number for one in self.people if one.user_id == user_id)

    def _settled(self, settlement: Settlement) -> None:
        """Let the model settle: only the claim that is still open counts, and who doubted it was first."""
        text = self.texts[settlement.key]
        if settlement.was != text.state or settlement.claims != text.claims:
            return
        text.state, text.claimed = str(settlement.state), None
        if text.state == "due":
            text.may_have_left.pop()

    def _hear(self) -> None:
        """Count what is told: of each text its end, once."""
        for ce_type, value in self.run(self.ground.published("notifier")):
            key = (UUID(value["challenge_id"]), value["send"])
            self.told[key] += 1
            same(self.texts[key].state, ce_type.split(".")[2])

    @invariant()
    def the_table_says_what_the_model_says(self) -> None:
        rows = {(row["challenge_id"], row["send"]): row for row in self.run(self.ground.db.fetch(STORED))}
        for key, text in self.texts.items():
            row = rows[key]
            if row["state"] in {"refused", "suppressed"} and text.state == "due":
                text.state = row["state"]  # withheld: the limits below say whether that was right
            same((text.state, text.claims), (row["state"], row["claims"]))
        same(len(self.texts), len(rows))

    @invariant()
    def nobody_gets_a_text_twice(self) -> None:
        ours = self.sns.publishes[self.sent_before :]
        may_have_left = Counter(one.code for one in ours if REPLIES[one.reply] in {"accepted", "unknown"})
        assert not may_have_left or max(may_have_left.values()) == 1
        codes = {text.challenge.code: text for text in self.texts.values()}
        assert all(codes[one.code].claims > 0 for one in ours)

    @invariant()
    def each_end_is_told_once(self) -> None:
        ended = {key for key, text in self.texts.items() if text.state in ENDS}
        assert set(self.told) <= ended
        assert not self.told or max(self.told.values()) == 1

    @invariant()
    def the_limits_hold(self) -> None:
        for person in self.people:
            others = self._left(person.user_id, reserved=False)
            everybody = sorted(others + self._left(person.user_id, reserved=True))
            assert all(later - earlier >= GAP for earlier, later in pairwise(everybody))
            for left, hourly, daily in (
                (others, HOURLY, DAILY),
                (everybody, HOURLY + RESERVE_HOURLY, DAILY + RESERVE_DAILY),
            ):
                assert all(left[n + hourly] - left[n] >= HOUR for n in range(len(left) - hourly))
                assert all(left[n + daily] - left[n] >= DAY for n in range(len(left) - daily))


def _try(servers: Servers, folder: Path, *, examples: int, steps: int, random: bool = False) -> None:
    limits = {
        "gap": "PT20S",
        "number_hourly_max": HOURLY,
        "number_daily_max": DAILY,
        "reserve_hourly": RESERVE_HOURLY,
        "reserve_daily": RESERVE_DAILY,
        "countries": None,
    }
    with a_ground(servers) as ground, ground.entered(two_notifiers(ground, folder, **limits)) as around:
        histories(lambda: DispatchHistory(around), examples=examples, steps=steps, random=random)


@pytest.mark.timeout(300)
def test_texts_keep_their_invariants(servers: Servers, tmp_path: Path) -> None:
    """Forty histories of twenty-five steps, the same in every run."""
    _try(servers, tmp_path, examples=40, steps=25)


@pytest.mark.faults_whole
@pytest.mark.timeout(3600)
def test_texts_keep_their_invariants_in_long_histories(servers: Servers, tmp_path: Path) -> None:
    """Three hundred histories of eighty steps, others in every run."""
    _try(servers, tmp_path, examples=300, steps=80, random=True)
