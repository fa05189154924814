"""The rules, as data: the severest that fires decides, and all that fire are told.

Where a code goes is looked at only where one is asked for. A member without a number may enter from a known place, and
may do anything while two-factor is off, but is never let past a code that cannot be sent (`number.missing`), since
then whoever holds the password would decide by leaving the number out. Exports that are held are denied with two-factor
off too: turning it off is one of the changes that hold them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from countersign.runtime.errors import ConflictError
from services.risk_evaluator.model import Assessment, Disputed, Facts, Lesson, fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.contract import AccessRequested, Outcome, Reason
    from countersign.policy import Policy
    from countersign.runtime.messages.record import Incoming
    from services.risk_evaluator.model import Assessed, Beliefs

SEVERITY: tuple[Outcome, ...] = ("allow", "challenge", "deny")
# These change who can get a code at all, so they ask for one whatever the setting says.
ALWAYS = frozenset({"confirm_number", "change_number", "manage_member", "manager_act"})
# These are approved on a number that proved to be the user's; one that was merely given approves nothing but itself.
NEED_CONFIRMED = frozenset({"change_number", "manage_member", "manager_act"})

# A place in daily use is written once an hour and not with each login: nothing is judged by less than a day.
PLACE_WRITTEN_EVERY = timedelta(hours=1)
# A grant is signed when its decision is made; between the two clocks' readings lies far less than this.
SIGNED_BEFORE_MAX = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason, what it leads to, and when it holds."""

    reason: Reason
    outcome: Outcome
    fires: Callable[[Facts, Policy], bool]


def _always(f: Facts) -> bool:
    return f.role is not None and (f.action in ALWAYS or (f.action == "login" and f.role == "account_manager"))


def _ordinary(f: Facts) -> bool:
    return f.role is not None and not _always(f)


def _guarded(action: str, f: Facts) -> bool:
    return f.action == action and f.two_factor and _ordinary(f)


def _asks_for_a_code(f: Facts) -> bool:
    return _always(f) or _guarded("export", f) or (_guarded("login", f) and not f.place_known)


def _cannot_be_reached(f: Facts) -> bool:
    if f.action == "confirm_number":
        return False  # its code goes to the number that it names: number.unknown
    return f.number is None or (f.action in NEED_CONFIRMED and f.number != "confirmed")


RULES = (
    Rule("request.stale", "deny", lambda f, p: f.age > p.requests.age_max),
    Rule("request.future", "deny", lambda f, p: f.ahead > p.requests.future_max),
    Rule("member.unknown", "deny", lambda f, _: f.role is None),
    Rule("two_factor.off", "allow", lambda f, _: _ordinary(f) and not f.two_factor),
    Rule("ip.known", "allow", lambda f, _: _guarded("login", f) and f.place_known),
    Rule("ip.new", "challenge", lambda f, _: _guarded("login", f) and f.place is not None and not f.place_known),
    Rule("ip.absent", "challenge", lambda f, _: _guarded("login", f) and f.place is None),
    Rule("export.always", "challenge", lambda f, _: _guarded("export", f)),
    Rule("action.always", "challenge", lambda f, _: _always(f)),
    Rule("number.missing", "deny", lambda f, _: _asks_for_a_code(f) and _cannot_be_reached(f)),
    Rule(
        "number.unknown", "deny", lambda f, _: _always(f) and f.action == "confirm_number" and not f.named_number_usable
    ),
    Rule("number.recent", "deny", lambda f, _: f.role is not None and f.action == "export" and f.exports_held),
)

_DENIALS = frozenset(rule.reason for rule in RULES if rule.outcome == "deny")


def assess(incoming: Incoming[AccessRequested], beliefs: Beliefs, policy: Policy, now: datetime) -> Assessment:
    """Return the severest outcome of the rules that fire, and every reason."""
    facts = facts_of(incoming, beliefs, now)
    fired = [rule for rule in RULES if rule.fires(facts, policy)]
    outcome: Outcome = max((rule.outcome for rule in fired), key=SEVERITY.index, default="challenge")
    return Assessment(outcome, tuple(rule.reason for rule in fired))


def denial(reasons: Sequence[Reason]) -> Reason:
    """Return the first reason for which a request is denied."""
    return next(reason for reason in reasons if reason in _DENIALS)


def facts_of(incoming: Incoming[AccessRequested], beliefs: Beliefs, now: datetime) -> Facts:
    """Return what the rules look at."""
    held_until = beliefs.exports_held_until
    return Facts(
        action=incoming.event.action,
        age=now - incoming.made_at,
        ahead=incoming.ce_time - now,
        role=beliefs.role,
        two_factor=beliefs.two_factor,
        number=beliefs.number,
        named_number_usable=beliefs.named_number_usable,
        exports_held=held_until is not None and now < held_until,
        place=beliefs.place,
        place_known=beliefs.place_known,
    )


def clock_error(incoming: Incoming[AccessRequested], policy: Policy, now: datetime) -> timedelta | None:
    """Return how far the producer's clock is ahead (or behind, below zero), if that alone makes the request impossible.

    The broker's append time is the judge: what is old by it, too, has only waited.
    """
    error = incoming.ce_time - incoming.record.appended_at
    waited = now - incoming.record.appended_at > policy.requests.age_max
    stale = now - incoming.ce_time > policy.requests.age_max and not waited
    return error if stale or incoming.ce_time - now > policy.requests.future_max else None


def is_repeated(incoming: Incoming[AccessRequested], beliefs: Beliefs) -> bool:
    """Return True if the request was assessed before: the first assessment stands.

    Raises ConflictError if another request was assessed under its id: only a copy that differs in no byte is the same.
    """
    if beliefs.assessed is None:
        return False
    if not beliefs.assessed.is_same_as(fingerprint_of(incoming)):
        raise conflict(incoming.event.request_id)
    return True


def conflict(request_id: UUID) -> ConflictError:
    """Return the finding that another request was assessed under this id."""
    cause = "request_id: assessed before with another value: a request that is repeated repeats every byte"
    return ConflictError(cause, alarm="request_conflict", outcome=Disputed(request_id))


def may_teach(assessed: Assessed) -> bool:
    """Return True if a grant of it would teach a place: an undisputed login from a usable address."""
    return assessed.fingerprint.action == "login" and assessed.place is not None and not assessed.disputed


def is_noted(assessed: Assessed, event_at: datetime, life_max: timedelta) -> bool:
    """Tell whether a grant made around `event_at` would change nothing of what is written of its place and user."""
    first, last = assessed.first_used_at, assessed.last_used_at
    if first is None or last is None:
        return False
    if life_max > timedelta(0) and first <= event_at - life_max:
        return False  # its time is over in all: this login begins it anew
    return first + SIGNED_BEFORE_MAX <= event_at < last + PLACE_WRITTEN_EVERY


def lesson(assessed: Assessed, granted_at: datetime, forget_after: timedelta, now: datetime) -> Lesson | None:
    """Return what a granted login teaches; nothing if its place was forgotten since, or is idle for too long.

    `granted_at` is the grant's own time, and whole seconds: one of the very second of the forgetting is forgotten.
    """
    if assessed.place is None or not may_teach(assessed):
        return None
    if assessed.forgotten_at is not None and granted_at <= assessed.forgotten_at:
        return None
    if forget_after > timedelta(0) and granted_at <= now - forget_after:
        return None
    return Lesson(
        account_id=assessed.fingerprint.account_id,
        place=assessed.place,
        taught_by=assessed.fingerprint.user_id,
        granted_at=granted_at,
    )
