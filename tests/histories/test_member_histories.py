"""Members: words about them in any order, twice, late and from the wrong account; the highest version stands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Literal
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from countersign.contract import MemberSet
from tests.histories.enrolment import Enrolment, an_enrolment
from tests.support.events import a_member_removed, a_member_set
from tests.support.histories import a_ground, histories, same

if TYPE_CHECKING:
    from datetime import datetime

    from countersign.contract import MemberRemoved
    from tests.support.servers import Servers

pytestmark = pytest.mark.servers

ACCOUNTS = (UUID(int=0xA), UUID(int=0xB))
OWNER, USERS = UUID(int=0x1), (UUID(int=0x1), UUID(int=0x2), UUID(int=0x3))
GRANT_SECONDS = 300  # a set must have been made while its grant was in force
RANK = {"managed": 0, "owner": 1}
STORED = "SELECT user_id, account_id, version, role, name, removed_at IS NOT NULL AS removed, pending_role FROM member"
PROTECTED = "SELECT user_id, account_id, role, two_factor FROM protection"

Role = Literal["owner", "managed"]


@dataclass(frozen=True)
class Member:
    """A member as the model has them. `role` None: removed, or waiting."""

    account_id: UUID
    version: int
    role: Role | None
    name: str | None
    removed: bool = False
    pending: Role | None = None


@dataclass(frozen=True)
class Approved:
    """A set whose grant an owner's code brought: it lets this user in, in this role, under this name, once."""

    event: MemberSet
    request: int


# Three users, two accounts, versions that come again: words that meet.
WORDS = st.tuples(
    st.sampled_from(USERS),
    st.sampled_from([ACCOUNTS[0], ACCOUNTS[0], ACCOUNTS[0], ACCOUNTS[1]]),
    st.integers(1, 9),
    st.sampled_from(["owner", "managed", "managed", "removed"]),
)


class MemberHistory(RuleBasedStateMachine):
    """A platform that says anything about three users, and an owner who approves some of it."""

    words = Bundle("words")
    approved = Bundle("approved")

    def __init__(self, enrolment: Enrolment) -> None:
        super().__init__()
        self.enrolment, self.ground, self.desk = enrolment, enrolment.ground, enrolment.desk
        self.run = self.ground.run
        self.members: dict[UUID, Member] = {}
        self.two_factor = dict.fromkeys(ACCOUNTS, False)
        self.known: set[UUID] = set()
        self.spent: set[int] = set()
        self.signed_at: dict[int, datetime] = {}
        self._requests = count(1)
        self.run(self.ground.begin_anew())

    @initialize()
    def there_is_an_owner(self) -> None:
        self._hear([a_member_set(account_id=ACCOUNTS[0], user_id=OWNER, version=1, role="owner", name="Olivia")])
        self.switch(ACCOUNTS[0], on=True)

    @rule(target=words, told=st.lists(WORDS, min_size=1, max_size=5))
    def the_platform_says(self, told: list[tuple[UUID, UUID, int, str]]) -> list[MemberSet | MemberRemoved]:
        events = [_word(*word) for word in told]
        self._hear(events)
        return events

    @rule(events=words)
    def it_says_so_again(self, events: list[MemberSet | MemberRemoved]) -> None:
        self._hear(events)

    @rule(account_id=st.sampled_from(ACCOUNTS), on=st.booleans())
    def switch(self, account_id: UUID, on: bool) -> None:
        if account_id in self.known:
            self.two_factor[account_id] = on
            self.run(self.desk.db.execute("UPDATE account SET two_factor = $2 WHERE account_id = $1", account_id, on))

    @rule(
        target=approved, user_id=st.sampled_from(USERS), version=st.integers(2, 10), role=st.sampled_from(sorted(RANK))
    )
    def the_owner_approves(self, user_id: UUID, version: int, role: Role) -> Approved:
        event = a_member_set(
            account_id=ACCOUNTS[0], user_id=user_id, version=version, role=role, name=f"Approved {role}"
        )
        asked = self.run(self.desk.ask_for(event, OWNER, now=self.ground.at))
        request = next(self._requests)
        self.signed_at[request] = self.ground.at
        return Approved(asked, request)

    @rule(one=approved, change=st.sampled_from(["nothing", "nothing", "role", "name", "user"]), later=st.integers(0, 3))
    def it_comes_with_its_grant(self, one: Approved, change: str, later: int) -> None:
        other_role: Role = "managed" if one.event.role == "owner" else "owner"
        other_user = USERS[(USERS.index(one.event.user_id) + 1) % len(USERS)]
        changed: dict[str, dict[str, object]] = {
            "role": {"role": other_role},
            "name": {"name": "Mallory"},
            "user": {"user_id": other_user},
        }
        over = {"version": one.event.version + later, **changed.get(change, {})}
        self._hear([one.event.model_copy(update=over)], fits=one.request if change == "nothing" else None)

    @rule(seconds=st.sampled_from([1, 100, 301]))
    def pass_time(self, seconds: int) -> None:
        self.run(self.ground.pass_time(seconds))

    def _hear(self, events: list[MemberSet | MemberRemoved], fits: int | None = None) -> None:
        arrived = [self.enrolment.arrived(event) for event in events]
        refused = [cause for event in events if (cause := self._take(event, fits)) is not None]
        _, causes = self.run(self.enrolment.fold(self.desk.members, *arrived))
        same(sorted(refused), sorted(cause.partition(":")[0] for cause in causes))

    def _take(self, event: MemberSet | MemberRemoved, fits: int | None) -> str | None:
        """Let the model hear a word; return the field that is off contract."""
        self.known.add(event.account_id)
        old = self.members.get(event.user_id)
        if old is not None and old.account_id != event.account_id:
            return "account_id"
        if old is not None and event.version <= old.version:
            return None
        if not isinstance(event, MemberSet):
            self.members[event.user_id] = Member(event.account_id, event.version, None, None, removed=True)
            return None
        assert event.role != "account_manager"
        role, name = (old.role, old.name) if old else (None, None)
        rises = role is None or RANK[event.role] > RANK[role]
        if self.two_factor[event.account_id] and rises and not self._is_approved(event, fits):
            removed = old is not None and old.removed
            self.members[event.user_id] = Member(
                event.account_id, event.version, role, name, removed=removed, pending=event.role
            )
            return None
        if self.two_factor[event.account_id] and rises and fits is not None:
            self.spent.add(fits)
        self.members[event.user_id] = Member(event.account_id, event.version, event.role, event.name)
        return None

    def _is_approved(self, event: MemberSet, fits: int | None) -> bool:
        """Tell whether a grant fits, is not spent, was made just now, and its owner is one still."""
        owner = self.members.get(OWNER)
        is_owner = owner is not None and owner.role == "owner" and owner.account_id == event.account_id
        if fits is None or fits in self.spent or not is_owner:
            return False
        return (self.ground.at - self.signed_at[fits]).total_seconds() <= GRANT_SECONDS

    @invariant()
    def the_tables_say_what_the_model_says(self) -> None:
        rows = self.run(self.desk.db.fetch(STORED))
        found = {
            row["user_id"]: Member(
                row["account_id"], row["version"], row["role"], row["name"], row["removed"], row["pending_role"]
            )
            for row in rows
        }
        same(self.members, found)

    @invariant()
    def only_members_are_published(self) -> None:
        rows = self.run(self.desk.db.fetch(PROTECTED))
        expected = {
            (user_id, one.account_id, one.role, self.two_factor[one.account_id])
            for user_id, one in self.members.items()
            if one.role is not None
        }
        same(expected, {tuple(row) for row in rows})
        same(len(self.spent), self.run(self.desk.db.fetchval("SELECT count(*) FROM spent_grant")))


def _word(user_id: UUID, account_id: UUID, version: int, what: str) -> MemberSet | MemberRemoved:
    if what == "removed":
        return a_member_removed(account_id=account_id, user_id=user_id, version=version)
    name = f"{what} {version}"
    return a_member_set(account_id=account_id, user_id=user_id, version=version, role=what, name=name)


def _try(servers: Servers, *, examples: int, steps: int, random: bool = False) -> None:
    with a_ground(servers) as ground, ground.entered(an_enrolment(ground)) as enrolment:
        histories(lambda: MemberHistory(enrolment), examples=examples, steps=steps, random=random)


@pytest.mark.timeout(300)
def test_members_keep_their_invariants(servers: Servers) -> None:
    """Forty histories of twenty steps, the same in every run."""
    _try(servers, examples=40, steps=20)


@pytest.mark.faults_whole
@pytest.mark.timeout(3600)
def test_members_keep_their_invariants_in_long_histories(servers: Servers) -> None:
    """Five hundred histories of sixty steps, others in every run."""
    _try(servers, examples=500, steps=60, random=True)
