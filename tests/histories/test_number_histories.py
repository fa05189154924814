"""Numbers: which code confirms which, with decisions late, twice, forged, and the number changing meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from services.enrolment import changes
from services.enrolment.chain import broken_at
from tests.histories.enrolment import Enrolment, an_enrolment
from tests.support.events import a_member_set, an_access_denied, an_access_granted
from tests.support.grants import Signer, claims_of
from tests.support.histories import a_ground, histories, same

if TYPE_CHECKING:
    from countersign.runtime.messages.record import Incoming
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

ACCOUNT, USER, STRANGER = UUID(int=0xA), UUID(int=0x1), UUID(int=0xF)
# Whoever enters a code had the number when the challenge opened: a code's life of ten minutes before, and a bit.
LOOKS_BACK, WHOLE_SECOND = timedelta(minutes=11), timedelta(seconds=1)
STORED = "SELECT number_id, state, ended_at FROM phone_number WHERE user_id = $1"
END = "UPDATE phone_number SET state = $2, ended_at = now() WHERE number_id = $1"
CONFIRM = "UPDATE phone_number SET state = 'confirmed', confirmed_at = now() WHERE number_id = $1"


@dataclass
class Number:
    """A number as the model has it."""

    number_id: UUID
    given: datetime
    state: str = "provided"
    ended: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """A decision on its topic, and what of it the model goes by. `named` is the unsigned number."""

    arrived: Incoming[Any]
    request_id: UUID
    entered: datetime
    counts: bool
    forged: bool
    named: UUID | None


class NumberHistory(RuleBasedStateMachine):
    """One user whose number is given, confirmed, replaced and reset, while codes are entered."""

    decisions = Bundle("decisions")

    def __init__(self, enrolment: Enrolment) -> None:
        super().__init__()
        self.enrolment, self.ground, self.desk = enrolment, enrolment.ground, enrolment.desk
        self.run = self.ground.run
        self._ids = count(0x100)
        self.numbers: list[Number] = []
        self.spent: set[UUID] = set()
        self.told = 0
        self.run(self.ground.begin_anew())

    @initialize()
    def there_is_a_member(self) -> None:
        owner = a_member_set(account_id=ACCOUNT, user_id=USER, version=1, role="owner", name="Olivia")
        self.run(self.enrolment.fold(self.desk.members, self.enrolment.arrived(owner)))
        self.give()

    # numbers, as enrolment's routes will change them

    def _of(self, state: str) -> Number | None:
        return next((one for one in self.numbers if one.state == state), None)

    @precondition(lambda self: self._of("provided") is None)
    @rule()
    def give(self) -> None:
        number_id = self.run(self.desk.add_number(USER, "provided", provided=timedelta(0)))
        self.numbers.append(Number(number_id, self.ground.at))

    @precondition(lambda self: self._of("provided") or self._of("confirmed"))
    @rule(how=st.sampled_from(["replaced", "reset"]), which=st.sampled_from(["provided", "confirmed"]))
    def end(self, how: str, which: str) -> None:
        number = self._of(which)
        if number is not None:
            number.state, number.ended = how, self.ground.at
            self.run(self.desk.db.execute(END, number.number_id, how))

    @precondition(lambda self: self._of("provided"))
    @rule(seconds=st.sampled_from([20, 659, 661]))
    def give_another_in_its_place(self, seconds: int) -> None:
        """Leave it open to which of the two a code that is entered a moment later has gone."""
        self.end("replaced", "provided")
        self.give()
        self.run(self.ground.pass_time(seconds))

    @precondition(lambda self: self._of("provided") and not self._of("confirmed"))
    @rule()
    def confirm_by_a_code_of_its_own(self) -> None:
        number = self._of("provided")
        assert number is not None
        number.state = "confirmed"
        self.run(self.desk.db.execute(CONFIRM, number.number_id))

    @rule(seconds=st.sampled_from([1, 20, 300, 659, 661, 3600]))
    def pass_time(self, seconds: int) -> None:
        self.run(self.ground.pass_time(seconds))

    # decisions

    @rule(
        target=decisions,
        action=st.sampled_from(["login", "login", "export", "change_number"]),
        method=st.sampled_from(["sms", "sms", "sms", "none"]),
        named=st.sampled_from(["right", "right", "right", "none", "other", "first"]),
        forged=st.sampled_from([False, False, False, True]),
    )
    def enter_a_code(self, action: Any, method: str, named: str, forged: bool) -> Decision:
        number_id = self._named(named)
        request_id = UUID(int=next(self._ids) << 64, version=4)
        event = an_access_granted(
            request_id=request_id,
            account_id=ACCOUNT,
            user_id=USER,
            action=action,
            method=method,
            number_id=number_id,
        )
        claims = claims_of(
            request_id=request_id,
            user_id=USER,
            account_id=ACCOUNT,
            action=action,
            digest=event.digest,
            now=self.ground.at,
            amr=["sms"] if method == "sms" else [],
        )
        signer = Signer() if forged else self.desk.signer
        event = event.model_copy(update={"grant": signer.sign(claims)})
        counts = method == "sms" and action in {"login", "export"}
        return Decision(self.enrolment.arrived(event), request_id, self.ground.at, counts, forged, number_id)

    @rule()
    def enter_a_code_that_is_read_at_once(self) -> None:
        self.decisions_arrive([self.enter_a_code("login", "sms", "none", forged=False)])

    @rule(batch=st.lists(decisions, min_size=1, max_size=4))
    def decisions_arrive(self, batch: list[Decision]) -> None:
        """In any order, at once, again, and as late as they like."""
        refused, told = [], 0
        for decision in batch:  # each in a round of its own: they are of one user
            cause, confirmed = self._take(decision)
            told += confirmed
            refused += [cause] if cause else []
        due, causes = self.run(self.enrolment.fold(self.desk.decisions, *(one.arrived for one in batch)))
        same(refused, [cause.partition(":")[0] for cause in causes])
        same(told, due)
        self.told += told

    @rule(target=decisions)
    def a_denial_arrives(self) -> Any:
        event = an_access_denied(account_id=ACCOUNT, user_id=USER)
        same((0, []), self.run(self.enrolment.fold(self.desk.decisions, self.enrolment.arrived(event))))
        return multiple()

    def _named(self, which: str) -> UUID | None:
        in_force = self._of("confirmed") or self._of("provided")
        match which:
            case "right":
                return in_force.number_id if in_force else None
            case "first":
                return self.numbers[0].number_id
            case "other":
                return STRANGER
            case _:
                return None

    def _take(self, decision: Decision) -> tuple[str | None, int]:
        """Let the model read a decision: the field that is off contract, and how many numbers it confirms."""
        if self._of("provided") is None:
            return None, 0  # nobody has a number to confirm: nothing of it is looked at
        if decision.forged:
            return "grant", 0
        earliest, latest = decision.entered - LOOKS_BACK, decision.entered + WHOLE_SECOND
        reached = [one for one in self.numbers if one.given <= latest and (one.ended is None or one.ended >= earliest)]
        if not decision.counts or len(reached) != 1 or reached[0].state != "provided":
            return None, 0
        if decision.named not in {None, reached[0].number_id}:
            return "number_id", 0
        if decision.request_id in self.spent:
            return None, 0
        self.spent.add(decision.request_id)
        reached[0].state = "confirmed"
        return None, 1

    # what holds

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        rows = self.run(self.desk.db.fetch(STORED, USER))
        same(
            {one.number_id: (one.state, one.ended) for one in self.numbers},
            {row["number_id"]: (row["state"], row["ended_at"]) for row in rows},
        )
        states = [row["state"] for row in rows]
        assert states.count("confirmed") <= 1
        assert states.count("provided") <= 1

    @invariant()
    def each_confirmation_is_told_and_chained(self) -> None:
        links = self.run(changes.links_of(self.desk.db, ACCOUNT))
        assert broken_at(links) is None
        same(self.told, len(links))
        same(len(self.spent), self.run(self.desk.db.fetchval("SELECT count(*) FROM spent_grant")))


def _try(servers: Servers, *, examples: int, steps: int, random: bool = False) -> None:
    with a_ground(servers) as ground, ground.entered(an_enrolment(ground)) as enrolment:
        histories(lambda: NumberHistory(enrolment), examples=examples, steps=steps, random=random)


@pytest.mark.timeout(300)
def test_numbers_keep_their_invariants(servers: Servers) -> None:
    """Forty histories of twenty steps, the same in every run."""
    _try(servers, examples=40, steps=20)


@pytest.mark.faults_whole
@pytest.mark.timeout(3600)
def test_numbers_keep_their_invariants_in_long_histories(servers: Servers) -> None:
    """Five hundred histories of sixty steps, others in every run."""
    _try(servers, examples=500, steps=60, random=True)
