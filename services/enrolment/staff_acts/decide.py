"""Whether an account manager may act, and what comes of it, pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from countersign.client import ManagerActKind
    from services.enrolment.model import Member
    from services.enrolment.staff_acts.model import ActOutcome, Facts

ACTS_HOURLY_MAX = 10  # chosen: a phished account manager does little harm before the alarm
ACTS_COUNTED_FOR = timedelta(hours=1)
SECOND_WITHIN = timedelta(hours=24)  # chosen: both managers know of the same call
RESET_LASTS = timedelta(hours=24)  # chosen: a day to get to a phone; then a manager resets again

ActRefusal = Literal[
    "actor_not_allowed",
    "too_many_acts",
    "user_unknown",
    "on_oneself",
    "staff_account",
    "two_factor_off",
    "nothing_held",
]


class ActRefusedError(Exception):
    """The act is not carried out. `kind` says why, in a word; `wait` how long until the next is."""

    def __init__(self, kind: ActRefusal, wait: timedelta | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.wait = wait


def judge_act(kind: ManagerActKind, facts: Facts) -> ActOutcome:
    """Return what the act comes to: done, or recorded until a second manager does the same. Raises ActRefusedError.

    A member of the staff account can be unlocked by a colleague and no more: whoever could reset a colleague's number
    would act in that colleague's name.
    """
    manager = facts.manager
    if not is_manager(manager, facts) or manager is None:
        raise ActRefusedError("actor_not_allowed")
    if facts.wait is not None:
        raise ActRefusedError("too_many_acts", facts.wait)
    if kind in {"number.reset", "user.unlock"}:
        return _on_user(kind, facts, manager)
    if facts.account_id == facts.staff_account_id:
        raise ActRefusedError("staff_account")
    if kind == "two_factor.off" and not facts.two_factor:
        raise ActRefusedError("two_factor_off")
    if kind == "exports.release" and not facts.exports_held:
        raise ActRefusedError("nothing_held")
    return "done"


def is_manager(manager: Member | None, facts: Facts) -> bool:
    """Return True for somebody who is an account manager of the staff account now."""
    if manager is None or manager.profile is None:
        return False
    return manager.profile.role == "account_manager" and manager.account_id == facts.staff_account_id


def _on_user(kind: ManagerActKind, facts: Facts, manager: Member) -> ActOutcome:
    target = facts.target
    if target is None or target.profile is None:
        raise ActRefusedError("user_unknown")
    if target.user_id == manager.user_id:
        raise ActRefusedError("on_oneself")
    if kind == "user.unlock":
        return "done"
    if facts.account_id == facts.staff_account_id:
        raise ActRefusedError("staff_account")
    # An owner's number opens the whole account, so one manager alone does not take it away.
    return "done" if target.profile.role != "owner" or facts.recorded else "recorded"
