"""The two folds: members by their versions, decisions by the grants they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from countersign.client.denial import jws_of
from countersign.client.grant import Expected, GrantRefusedError
from countersign.contract import AccessDenied, AccessGranted, MemberRemoved, MemberSet, reader
from countersign.runtime.errors import KeyUnknownError, OffContractError
from countersign.runtime.folding.effect import Effect
from countersign.runtime.folding.fold import PATIENTLY, never
from services.enrolment import changes, decide, store
from services.enrolment.model import Approval
from services.enrolment.setup.approving import give_approved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from prometheus_client import Counter

    from countersign.client.grants import Grants
    from countersign.contract import Role
    from countersign.runtime.database.postgres import Connection
    from countersign.runtime.messages.record import Incoming, Record
    from countersign.runtime.publishing.outbox import Kept
    from services.enrolment.model import Decided, Member, MemberChanged, Number, OwnRequest

    MemberEvent = MemberSet | MemberRemoved
    DecisionEvent = AccessGranted | AccessDenied

# A grant that is no approval is told by None; one whose key is not here yet is waited for.
Checked = Approval | KeyUnknownError | None


@dataclass(frozen=True, slots=True)
class Members:
    """What a batch of member events is judged by. The accounts are locked."""

    two_factor: Mapping[UUID, bool]
    members: Mapping[UUID, Member]
    approvers: Mapping[tuple[UUID, Role], Collection[UUID]]
    checked: Mapping[UUID, Checked]
    requests: Mapping[UUID, OwnRequest]


class MembersFold:
    """Members of accounts, as the platform tells them. Goes by version, so it reads everything, however old."""

    topic = MemberSet.topic
    dedupes_by_key = False
    delay_ms_max = PATIENTLY
    stale_after = None
    saves_at_once = staticmethod(never)

    def __init__(self, grants: Grants, staff_account_id: UUID | None, counter: Counter) -> None:
        self._grants = grants
        self._counter = counter
        self._staff_account_id = staff_account_id
        self._parse: Callable[[Record], Incoming[MemberEvent] | None] = reader(MemberSet, MemberRemoved)

    def parse(self, record: Record) -> Incoming[MemberEvent] | None:
        """Return the member event. Raises OffContractError."""
        return self._parse(record)

    def keys(self, incoming: Incoming[MemberEvent]) -> tuple[Hashable, ...]:
        """Return the user."""
        return (("user", incoming.event.user_id),)

    async def load(self, db: Connection, events: Sequence[Incoming[MemberEvent]]) -> tuple[Members, datetime]:
        """Check the grants before anything is locked; lock the accounts; then read the members."""
        checked = self._check(events)
        approvals = [one for one in checked.values() if isinstance(one, Approval)]
        account_ids = {incoming.event.account_id for incoming in events}
        two_factor = await store.lock_accounts(db, account_ids, make=True)
        known = await store.members(db, [incoming.event.user_id for incoming in events])
        approvers = await store.approvers(db, account_ids)
        now = await store.now_of(db)
        requests = await store.own_requests(db, [one.request_id for one in approvals]) if approvals else {}
        return Members(two_factor, known, approvers, checked, requests), now

    def decide(self, incoming: Incoming[MemberEvent], state: Members, now: datetime) -> MemberChanged | None:
        """Return the member from now on, or None for old news. Raises OffContractError and KeyUnknownError."""
        del now
        event = incoming.event
        known = state.members.get(event.user_id)
        if isinstance(event, MemberRemoved):
            return decide.remove_member(event, known)
        staff = self._staff_account_id
        has_managers = bool(state.approvers.get((event.account_id, "account_manager")))
        needs_code = decide.needs_code(
            event, staff, two_factor=state.two_factor[event.account_id], has_managers=has_managers
        )
        approver: Role = "account_manager" if decide.is_staff(event, staff, has_managers=has_managers) else "owner"
        approved = _approved(event, known, state, approver) if needs_code else None
        return decide.set_member(event, known, needs_code=needs_code, approved=approved, staff_account_id=staff)

    async def save(self, db: Connection, outcomes: Sequence[MemberChanged], now: datetime) -> Kept:
        """Store the members, and the numbers that their grants let in; only of numbers others are told."""
        await store.save_members(db, outcomes, now)
        return await give_approved(db, outcomes, now)

    def effect(self, outcome: MemberChanged) -> Effect:
        """Return what became of the member; a grant spent on them is counted apart."""
        return Effect(f"member {_became(outcome.member)}" + (" by a code" if outcome.spent is not None else ""))

    def committed(self, outcomes: Sequence[MemberChanged]) -> None:
        """Count what became of them; nobody waits."""
        for outcome in outcomes:
            self._counter.labels(_became(outcome.member)).inc()

    def _check(self, events: Sequence[Incoming[MemberEvent]]) -> dict[UUID, Checked]:
        with_grant = [
            (incoming, incoming.event.grant)
            for incoming in events
            if isinstance(incoming.event, MemberSet) and incoming.event.grant is not None
        ]
        if not with_grant:
            return {}
        self._grants.want(grant for _, grant in with_grant)
        return {incoming.event.user_id: self._approval(grant, incoming.made_at) for incoming, grant in with_grant}

    def _approval(self, grant: str, made_at: datetime) -> Checked:
        try:
            return _approval_of(self._grants, grant, made_at)
        except GrantRefusedError:
            return None  # as if there were none: the set is kept as pending, and shows
        except KeyUnknownError as missing:
            return missing


def _became(member: Member) -> str:
    if member.pending is not None:
        return "pending"
    return "removed" if member.removed else "set"


def _approved(event: MemberSet, known: Member | None, state: Members, approver: Role) -> OwnRequest | None:
    if known is not None and event.version <= known.version:
        return None  # old news needs nobody's key
    checked = state.checked.get(event.user_id)
    if isinstance(checked, KeyUnknownError):
        raise checked
    if checked is None:
        return None
    request = state.requests.get(checked.request_id)
    fits = decide.approves(checked, request, event, state.approvers.get((event.account_id, approver), ()))
    return request if fits else None


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a batch of decisions is judged by. The accounts of users with a number to confirm are locked."""

    requests: Mapping[UUID, OwnRequest]
    numbers: Mapping[UUID, Sequence[Number]]


class DecisionsFold:
    """Closes this service's own requests, and confirms a given number by the first code accepted from it.

    What may be acted on: the grant's signature covers request, user, account, action, digest, method and time; the
    event's `number_id` is not covered. The number is therefore found in enrolment's own records, and only if it is the
    only one that the code can have gone to (`decide.confirmed_by`); a `number_id` that contradicts them is a dead
    letter. A login's digest cannot be recomputed here, as it holds the browser's secret, and need not be: nothing is
    done with the login itself.
    """

    topic = AccessGranted.topic
    dedupes_by_key = True
    delay_ms_max = PATIENTLY
    stale_after = None
    saves_at_once = staticmethod(never)

    def __init__(self, grants: Grants, hold: timedelta) -> None:
        """`hold`: how long exports of a user whose number was replaced are held."""
        self._grants = grants
        self._hold = hold
        self._parse: Callable[[Record], Incoming[DecisionEvent] | None] = reader(AccessGranted, AccessDenied)

    def parse(self, record: Record) -> Incoming[DecisionEvent] | None:
        """Return the decision. Raises OffContractError."""
        return self._parse(record)

    def keys(self, incoming: Incoming[DecisionEvent]) -> tuple[Hashable, ...]:
        """Return the user, whose number may be confirmed, and the request."""
        return (("user", incoming.event.user_id), ("request", incoming.event.request_id))

    async def load(self, db: Connection, events: Sequence[Incoming[DecisionEvent]]) -> tuple[Decisions, datetime]:
        """Lock and read; a batch in which nobody has a number to confirm locks nothing."""
        self._grants.want(jws_of(one.event) for one in events)
        decisions = [(incoming.event.request_id, incoming.event.user_id) for incoming in events]
        requests, account_ids, now = await store.concerned(db, decisions)
        numbers: Mapping[UUID, Sequence[Number]] = {}
        if account_ids:
            await store.lock_accounts(db, account_ids, make=False)
            numbers = await store.numbers(db, [user_id for _, user_id in decisions])
        return Decisions(requests, numbers), now

    def decide(self, incoming: Incoming[DecisionEvent], state: Decisions, now: datetime) -> Decided | None:
        """Return what the decision comes to here. Raises OffContractError and KeyUnknownError."""
        del now
        event = incoming.event
        request = state.requests.get(event.request_id)
        numbers = state.numbers.get(event.user_id, ())
        approval = None
        if isinstance(event, AccessGranted) and (request is not None or numbers):
            approval = self._approval(event, incoming.ce_time, request)
        decided = decide.decided(event, approval, request, numbers)
        if decided is not None and isinstance(event, AccessDenied):
            self._check_denial(event)
        return decided

    async def save(self, db: Connection, outcomes: Sequence[Decided], now: datetime) -> Kept:
        """Close, confirm, and tell of the numbers that were confirmed by this very batch."""
        await store.close_requests(db, outcomes, now)
        wanted = {one.request_id: one.confirms for one in outcomes if one.confirms is not None}
        unspent = await store.spend(db, dict.fromkeys(wanted, "number.confirmed"), now)
        confirming = [one for request_id, one in sorted(wanted.items()) if request_id in unspent]
        done = await store.confirm(db, confirming, self._hold, now)
        return await changes.keep(db, [changes.of_confirmed(one) for one in confirming if one.number_id in done], now)

    def effect(self, outcome: Decided) -> Effect:
        """Say what is closed or confirmed; of a number that replaces another one, the other one is told by text."""
        if outcome.confirms is not None and outcome.confirms.replaces is not None:
            return Effect("text", forbidden=True)
        if outcome.confirms is not None:
            return Effect("number confirmed")
        return Effect(f"request closed as {outcome.closes}")

    def committed(self, outcomes: Sequence[Decided]) -> None:
        """Nobody waits: the views show it."""

    def _approval(self, event: AccessGranted, ce_time: datetime, request: OwnRequest | None) -> Approval:
        req = None if request is None else request.req or ""
        try:
            return _approval_of(self._grants, event.grant, ce_time, _expected(event, req))
        except GrantRefusedError as refused:
            raise OffContractError(f"grant: {refused}") from None

    def _check_denial(self, event: AccessDenied) -> None:
        if event.proof is None:
            raise OffContractError("proof: missing; a denial counts only with the verifier's signature")
        try:
            self._grants.judge_denial(event.proof, _expected(event, None))
        except GrantRefusedError as refused:
            raise OffContractError(f"proof: {refused}") from None


def _expected(event: DecisionEvent, req: str | None) -> Expected:
    return Expected(
        action=event.action,
        request_id=event.request_id,
        user_id=event.user_id,
        account_id=event.account_id,
        digest=event.digest,
        req=req,
    )


def _approval_of(grants: Grants, grant: str, made_at: datetime, expected: Expected | None = None) -> Approval:
    found = grants.check_taught(grant, made_at, expected)
    return Approval(
        request_id=found.request_id,
        account_id=found.account_id,
        user_id=found.user_id,
        action=found.action,
        digest=found.digest,
        req=found.req,
        method=found.method,
        issued_at=found.issued_at,
    )
