"""What was believed of a request when it was judged, read back from the reasons that were recorded with it.

Every rule that fired is told, so the reasons say what the rules looked at. That is better than going through
account.members: that topic is compacted, and people who were seeded were never on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.risk_evaluator.decide import NEED_CONFIRMED, RULES, SEVERITY
from services.risk_evaluator.model import Beliefs

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from countersign.contract import Action, Outcome, Reason, Role
    from services.risk_evaluator.model import NumberState

# These rules say that a code was asked for, so that whether one could be sent was looked at.
_ASKED = frozenset({"ip.new", "ip.absent", "export.always", "action.always"})


@dataclass(frozen=True, slots=True)
class Judged:
    """A recorded judgement. `place` as it was cut then; `at` is when it was made."""

    outcome: Outcome
    reasons: tuple[Reason, ...]
    place: str | None
    place_known: bool
    policy_version: str | None
    at: datetime


def outcome_of(reasons: Collection[Reason]) -> Outcome:
    """Return what these reasons come to: the severest, or a challenge where none is told."""
    fired = (rule.outcome for rule in RULES if rule.reason in reasons)
    return max(fired, key=SEVERITY.index, default="challenge")


def role_of(action: Action, reasons: Collection[Reason]) -> Role | None:
    """Return a role that the rules treat as they treated the requester's."""
    if "member.unknown" in reasons:
        return None
    return "account_manager" if action == "login" and "action.always" in reasons else "owner"


def number_of(action: Action, reasons: Collection[Reason]) -> tuple[NumberState | None, bool]:
    """Return the state of the number, and whether the reasons tell it: only where a code was asked for.

    For some actions a number has to be confirmed; the state that is returned is one that fits the judgement.
    """
    if "member.unknown" in reasons or action == "confirm_number" or not _ASKED & set(reasons):
        return None, False
    if "number.missing" not in reasons:
        return "confirmed" if action in NEED_CONFIRMED else "provided", True
    return ("provided" if action in NEED_CONFIRMED else None), True


def beliefs_of(
    action: Action,
    reasons: Collection[Reason],
    *,
    number: NumberState | None,
    exports_held_until: datetime | None,
    place: str | None,
    place_known: bool,
) -> Beliefs:
    """Return what the rules need: place, number and hold as given, all else as the reasons tell it."""
    return Beliefs(
        role=role_of(action, reasons),
        two_factor="two_factor.off" not in reasons,
        number=number,
        named_number_usable="number.unknown" not in reasons,
        exports_held_until=exports_held_until,
        place=place,
        place_known=place_known,
    )
