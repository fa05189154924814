"""What follows from an assessment, pure: its proof, the floor under it, and the number the code goes to."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Literal, get_args

from countersign.contract import DenialReason, base64url, canonical
from countersign.runtime.errors import ConflictError, OffContractError
from services.verifier.counters import wait_of
from services.verifier.model import Allow, Deny, Fingerprint, Number, Open, Protection, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime, timedelta
    from uuid import UUID

    from countersign.contract import AccessAssessed, Outcome, Reason
    from countersign.policy import RequestLimits
    from services.verifier.model import Beliefs

SEVERITY: tuple[Outcome, ...] = ("allow", "challenge", "deny")
ALWAYS = frozenset({"confirm_number", "change_number", "manage_member", "manager_act"})
# A number that somebody merely typed must not approve what the owner of the number in force has to approve.
NEEDS_CONFIRMED = frozenset({"change_number", "manage_member", "manager_act"})
OPEN_MAX = 3  # open challenges a user and place (ours): a fourth cancels the oldest
_DENIALS = frozenset(get_args(DenialReason))


def is_seen(event: AccessAssessed, seen: Fingerprint | None) -> bool:
    """Tell whether the request was taken in before. Raises OffContractError for another request of the same id."""
    if seen is None:
        return False
    if seen.req is None:  # stored before `req` was carried
        seen = replace(seen, req=event.req)
    if seen != Fingerprint(event.account_id, event.user_id, event.action, event.digest, event.req):
        cause = "request_id: taken in before with another account, user, action, digest or request"
        raise ConflictError(cause, alarm="request_conflict")
    return True


def check_req(event: AccessAssessed) -> None:
    """Raise OffContractError for an assessment that does not say which request was judged: its grant is no good."""
    if event.req is None:
        raise OffContractError("req: missing; the risk-evaluator must be as new as the verifier")


def is_stale(requested_at: datetime, made_at: datetime, now: datetime, age_max: timedelta) -> bool:
    """Tell whether a request is too old: by what the evaluator says, or by the assessment's own age."""
    return now - min(requested_at, made_at) > age_max


def check_mac(raw: Mapping[str, Any], secret: bytes) -> None:
    """Raise OffContractError unless the holder of `secret` made the MAC over all other fields, known here or not."""
    covered = {name: value for name, value in raw.items() if name != "mac"}
    try:
        expected = base64url(hmac.digest(secret, canonical(covered), "sha256"))
    except (ValueError, RecursionError):
        raise OffContractError("value: expected strings and integers only; came something that has no MAC") from None
    if not compare_digest(expected, str(raw["mac"])):
        raise OffContractError("mac: does not fit the other fields")


@dataclass(frozen=True, slots=True)
class _Facts:
    event: AccessAssessed
    protection: Protection | None
    now: datetime
    made_at: datetime
    limits: RequestLimits

    @property
    def member(self) -> bool:
        return self.protection is not None

    @property
    def held(self) -> bool:
        until = self.protection.exports_held_until if self.protection else None
        return until is not None and self.now < until

    @property
    def two_factor(self) -> bool:
        return self.protection is not None and self.protection.two_factor

    @property
    def manager(self) -> bool:
        return self.protection is not None and self.protection.role == "account_manager"

    @property
    def unproven(self) -> bool:
        """A login of a protected account whose place nobody vouches for."""
        known = self.event.place_known and self.event.place is not None and "ip.known" in self.event.reasons
        return self.event.action == "login" and self.two_factor and not self.manager and not known


@dataclass(frozen=True, slots=True)
class _Rule:
    reason: Reason
    outcome: Outcome
    fires: Callable[[_Facts], bool]


# The floor: what holds whatever an assessment says, as the verifier itself reads enrolment's views.
FLOOR = (
    _Rule("request.stale", "deny", lambda f: is_stale(f.event.requested_at, f.made_at, f.now, f.limits.age_max)),
    _Rule("request.future", "deny", lambda f: f.event.requested_at - f.now > f.limits.future_max),
    _Rule("member.unknown", "deny", lambda f: not f.member),
    _Rule("number.recent", "deny", lambda f: f.event.action == "export" and f.held),
    _Rule("export.always", "challenge", lambda f: f.event.action == "export" and f.two_factor),
    _Rule(
        "action.always",
        "challenge",
        lambda f: f.member and (f.event.action in ALWAYS or (f.event.action == "login" and f.manager)),
    ),
    _Rule("ip.new", "challenge", lambda f: f.unproven and f.event.place is not None),
    _Rule("ip.absent", "challenge", lambda f: f.unproven and f.event.place is None),
)


def take(
    event: AccessAssessed,
    beliefs: Beliefs,
    limits: RequestLimits,
    now: datetime,
    *,
    made_at: datetime,
    traceparent: str | None = None,
) -> Taken:
    """Return what follows from an assessment whose MAC is right and whose request is new."""
    facts = _Facts(event, beliefs.protection, now, made_at, limits)
    fired = [rule for rule in FLOOR if rule.fires(facts)]
    outcome = max((event.outcome, *(rule.outcome for rule in fired)), key=SEVERITY.index)
    reasons = tuple(dict.fromkeys((*event.reasons, *(rule.reason for rule in fired))))
    denials = [rule.reason for rule in fired if rule.outcome == "deny"]
    match outcome:
        case "deny":
            ending: Allow | Deny | Open = Deny(_denial((*denials, *event.reasons)))
        case "challenge":
            ending = _challenged(event, beliefs, now)
        case "allow":
            ending = Allow()
    return Taken(event, reasons, ending, traceparent)


def _denial(reasons: tuple[Reason, ...]) -> DenialReason:
    for reason in reasons:
        if reason in _DENIALS:
            denial: DenialReason = reason  # type: ignore[assignment] # narrowed by the set of all denial reasons
            return denial
    raise OffContractError("reasons: expected a reason for which a request is denied; came none")


def _challenged(event: AccessAssessed, beliefs: Beliefs, now: datetime) -> Deny | Open:
    number = number_for(event.action, event.number_id, event.user_id, beliefs)
    if not isinstance(number, Number):
        return Deny(number)
    unlocked_at = beliefs.protection.unlocked_at if beliefs.protection else None
    wait = wait_of(beliefs.counter, unlocked_at, now)
    if wait is not None:
        return Deny("locked", wait.until)
    crowded = len(beliefs.open_challenges) + 1 - OPEN_MAX
    return Open(
        number,
        beliefs.fresh,
        beliefs.open_challenges[: max(0, crowded)],
        reserved=may_use_reserve(event.place_known, beliefs.protection),
    )


def may_use_reserve(place_known: bool, protection: Protection | None) -> bool:
    """Return True if a text may use the reserve of the text limits, which texts asked for from new places cannot.

    So that whoever has only the password, and asks from a new place, cannot use up the texts of the owner.
    """
    return place_known or (protection is not None and protection.role == "account_manager")


def number_for(
    action: str, asked_id: UUID | None, user_id: UUID, beliefs: Beliefs
) -> Number | Literal["number.missing", "number.unknown"]:
    """Return the number the code goes to, or why there is none.

    The number in force, or where none was ever confirmed the given one, never one of the request's choosing: only
    confirm_number names its number, and that must be the user's own and not yet replaced.
    """
    asked = beliefs.asked_number
    if asked_id is not None and (asked is None or not in_use(asked, user_id)):
        return "number.unknown"
    if action == "confirm_number":
        return asked if asked is not None else "number.missing"
    number = beliefs.protection.number if beliefs.protection else None
    if number is None or not in_use(number, user_id):
        return "number.missing"
    if action in NEEDS_CONFIRMED and number.state != "confirmed":
        return "number.missing"
    return number


def in_use(number: Number, user_id: UUID) -> bool:
    """Tell whether a code may go to the number: it is this user's, and neither replaced nor reset."""
    return number.user_id == user_id and number.state in {"provided", "confirmed"}
