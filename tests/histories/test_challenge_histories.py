"""Challenges: whatever happens in whatever order, the tables say what a plain model says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, initialize, invariant, multiple, precondition, rule

from countersign.contract import challenge_id_of
from services.verifier.challenges import Refused, Sent, Waiting
from tests.histories.challenge_model import Challenge
from tests.histories.verifier import DELIVERIES, OneUser, a_verifier
from tests.support.histories import a_ground, histories, same

if TYPE_CHECKING:
    from countersign.contract import Action
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

STORED = """
SELECT c.challenge_id, c.attempts, c.closed_at IS NULL AS open, coalesce(d.reason, d.outcome) AS decided, d.grant_jws,
       ARRAY(SELECT state FROM verifier.send s WHERE s.challenge_id = c.challenge_id ORDER BY send) AS texts
  FROM verifier.challenge c LEFT JOIN verifier.decision d USING (request_id) WHERE c.user_id = $1
"""

STATES = st.sampled_from(["accepted", "accepted", "unknown", "refused", "suppressed"])


class ChallengeHistory(OneUser):
    """One user, two known and two new places, and everything that can happen to their requests."""

    opened = Bundle("opened")

    # what happens

    @initialize(target=opened)
    def ask_first(self) -> Any:
        return multiple(self._ask("login", 1, known=True), self._ask("login", 1, known=False))

    @rule(
        target=opened,
        action=st.sampled_from(["login", "login", "export", "change_number"]),
        known=st.booleans(),
        nth=st.integers(1, 2),
    )
    def ask(self, action: Action, known: bool, nth: int) -> Any:
        return self._ask(action, nth, known=known)

    @rule(target=opened, known=st.booleans())
    def crowd_a_place(self, known: bool) -> Any:
        asked = [self._ask("login", 1, known=known) for _ in range(3)]
        return multiple(*(one for one in asked if isinstance(one, Challenge)))

    @rule(target=opened, known=st.booleans(), failures=st.sampled_from([99, 100]))
    def ask_long_after_many_failures(self, known: bool, failures: int) -> Any:
        self.has_failed_before(failures, known)
        self.run(self.ground.pass_time(3601))
        return self._ask("login", 1, known=known)

    def _ask(self, action: Action, nth: int, *, known: bool) -> Any:
        place = f"{198 if known else 203}.0.113.{nth}/32"
        event = self.assessed(action, place, known=known)
        expected = self.world.assess(action, place, known=known, now=self.ground.at)
        self.requests[event.request_id] = event
        self.run(self.verifier.fold(self.verifier.assessments, event))
        if expected != "open":
            self.world.decided[event.request_id] = expected
            self.take_published()
            return multiple()
        challenge = Challenge(
            event.request_id,
            challenge_id_of(event.request_id),
            action,
            place,
            known,
            self.world.number_id,
            self.ground.at,
        )
        self.world.challenges.append(challenge)
        self.take_published()
        return challenge

    @rule()
    def everything_asked_is_read_again(self) -> None:
        if self.requests:
            self.run(self.verifier.fold(self.verifier.assessments, *self.requests.values()))
            same([], self.run(self.ground.published("verifier")))

    @rule(
        challenge=opened,
        what=st.sampled_from(["right", "right", "older", "oldest", "wrong", "wrong", "wrong"]),
        again=st.booleans(),
    )
    def answer(self, challenge: Challenge, what: str, again: bool) -> None:
        code, answer_id = self.code_of(challenge, what), self.new_id()
        expected = self.world.answer(challenge, code, self.ground.at)
        same(expected, self.run(self.give_answer(challenge, code, answer_id)))
        if again:  # the same form sent twice: the same reply, whatever has become of the challenge
            repeated = (
                expected if expected in {"accepted", "wrong"} else self.world.answer(challenge, code, self.ground.at)
            )
            same(repeated, self.run(self.give_answer(challenge, code, answer_id)))
        self.take_published()

    @rule(challenge=opened, what=st.sampled_from(["right", "wrong"]), times=st.integers(2, 8))
    def answer_at_once(self, challenge: Challenge, what: str, times: int) -> None:
        code = self.code_of(challenge, what)

        async def all_at_once() -> list[str]:
            return await asyncio.gather(*(self.give_answer(challenge, code, self.new_id()) for _ in range(times)))

        found = self.run(all_at_once())
        same(sorted(self.world.answer(challenge, code, self.ground.at) for _ in range(times)), sorted(found))
        self.take_published()

    @rule(challenge=opened)
    def resend(self, challenge: Challenge) -> None:
        expected = self.world.resend(challenge, self.ground.at)
        reply = self.run(self.verifier.challenges.resend(challenge.challenge_id))
        kinds: dict[type, str] = {Sent: "send", Waiting: "later", Refused: "never"}
        same(expected, kinds[type(reply)])
        self.take_published()

    @rule(challenge=opened, early=st.booleans())
    def wait_for_another_text(self, challenge: Challenge, early: bool) -> None:
        pause = {1: 30, 2: 60, 3: 120}.get(len(challenge.texts), 1)
        self.run(self.ground.pass_time(pause - early))
        self.resend(challenge)

    @rule(challenge=opened, what=st.sampled_from(["oldest", "older"]))
    def answer_an_older_one_of_three_texts(self, challenge: Challenge, what: str) -> None:
        for _ in range(2):
            self.wait_for_another_text(challenge, early=False)
        self.answer(challenge, what, again=False)

    @rule(challenge=opened, failures=st.sampled_from([8, 9, 97, 98, 99]))
    def fail_after_many_failures(self, challenge: Challenge, failures: int) -> None:
        self.has_failed_before(failures, challenge.known)
        for _ in range(3):
            self.answer(challenge, "wrong", again=False)

    @rule(challenge=opened)
    def cancel(self, challenge: Challenge) -> None:
        expected = self.world.cancel(challenge, self.ground.at)
        same(expected, self.run(self.verifier.challenges.cancel(challenge.challenge_id)))
        self.take_published()

    @rule(
        challenge=opened,
        nth=st.integers(1, 4),
        state=STATES,
    )
    def deliver(self, challenge: Challenge, nth: int, state: str) -> None:
        send = min(nth, max(challenge.texts))
        event = DELIVERIES[state](
            challenge_id=challenge.challenge_id,
            send=send,
            account_id=self.account_id,
            user_id=self.user_id,
            number_id=challenge.number_id,
        )
        self.world.deliver(challenge, send, state)
        self.run(self.verifier.fold(self.verifier.deliveries, event))
        self.take_published()

    @rule(seconds=st.sampled_from([1, 29, 30, 31, 61, 121, 239, 241, 300, 3600]))
    def pass_time(self, seconds: int) -> None:
        self.run(self.ground.pass_time(seconds))

    @precondition(lambda self: len(self.world.challenges) % 3 == 2)
    @rule()
    def expire(self) -> None:
        self.world.expire(self.ground.at)
        self.run(self.verifier.expire())
        self.take_published()

    def has_failed_before(self, failures: int, known: bool) -> None:
        counter = self.world.failures[known]
        if failures > counter.count:
            counter.count, counter.last = failures, self.ground.at
            self.run(
                self.ground.db.execute(
                    "INSERT INTO verifier.counter VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, place_known)"
                    " DO UPDATE SET failures = $3, last_failed_at = $4",
                    self.user_id,
                    known,
                    failures,
                    self.ground.at,
                )
            )

    @rule()
    def unlock(self) -> None:
        self.run(self.ground.pass_time(1))
        self.world.unlocked = self.ground.at
        self.run(self.change_member("unlocked_at = $2", self.ground.at))

    @precondition(lambda self: len(self.world.challenges) % 3 == 0)
    @rule(state=st.sampled_from(["provided", "confirmed"]))
    def replace_number(self, state: str) -> None:
        self.run(self.end_number("replaced"))
        self.run(self.add_number(state))

    @precondition(lambda self: self.world.number_state != "reset" and len(self.world.challenges) % 3 == 1)
    @rule()
    def reset_number(self) -> None:
        self.run(self.end_number("reset"))
        self.world.number_state = "reset"

    @precondition(lambda self: self.world.member and len(self.world.challenges) % 3 == 2)
    @rule()
    def leave(self) -> None:
        self.world.member = False
        self.run(self.change_member("role = $2, name = $2", None))

    @precondition(lambda self: not self.world.member)
    @rule()
    def come_back(self) -> None:
        self.world.member = True
        self.run(self.change_member("role = $2, name = $2", "owner"))

    # what holds

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        rows = {row["challenge_id"]: row for row in self.run(self.ground.db.fetch(STORED, self.user_id))}
        same(len(self.world.challenges), len(rows))
        for challenge in self.world.challenges:
            row = rows[challenge.challenge_id]
            same((challenge.tries, challenge.decided), (row["attempts"], row["decided"]))
            same([text.state for _, text in sorted(challenge.texts.items())], row["texts"])
            assert row["open"] == (challenge.decided is None)
            assert row["attempts"] <= 5
            assert (row["grant_jws"] is not None) == (challenge.decided == "granted")
        counters = self.run(self.ground.db.fetch("SELECT * FROM verifier.counter WHERE user_id = $1", self.user_id))
        same(
            {row["place_known"]: (row["failures"], row["last_failed_at"]) for row in counters},
            {
                known: (one.count, one.last)
                for known, one in self.world.failures.items()
                if known in {row["place_known"] for row in counters}
            },
        )

    @invariant()
    def each_request_was_decided_once_and_as_the_model_says(self) -> None:
        same(self.world.decided, self.told)


def _try(servers: Servers, *, examples: int, steps: int, random: bool = False) -> None:
    with a_ground(servers) as ground, ground.entered(a_verifier(ground)) as verifier:
        histories(lambda: ChallengeHistory(verifier), examples=examples, steps=steps, random=random)


@pytest.mark.timeout(300)
def test_challenges_keep_their_invariants(servers: Servers) -> None:
    """Forty histories of thirty steps, the same in every run."""
    _try(servers, examples=40, steps=30)


@pytest.mark.faults_whole
@pytest.mark.timeout(3600)
def test_challenges_keep_their_invariants_in_long_histories(servers: Servers) -> None:
    """Three hundred histories of eighty steps, others in every run."""
    _try(servers, examples=300, steps=80, random=True)
