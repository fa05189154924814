"""The console's rules, pure: which acts there are, what a form lacks, what a page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from services.gateway.console.model import ActForm, Problem
from services.gateway.decide import Progress, progress_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from countersign.client import ManagerActKind, RequestState
    from services.gateway.console.model import Account, ActDraft, Member

REASON_CHARACTERS_MAX = 500  # the contract of account.settings.v1
TICKET_CHARACTERS_MAX = 100  # the same

# The last part of an act's address on the console.
ON_ACCOUNT: Mapping[str, ManagerActKind] = {"off": "two_factor.off", "release": "exports.release"}
ON_USER: Mapping[str, ManagerActKind] = {"reset": "number.reset", "unlock": "user.unlock"}

Shown = Progress | Literal["done", "recorded", "refused"]
NumberState = Literal["confirmed", "given", "reset", "none"]


def read_form(form: Mapping[str, str]) -> ActForm:
    """Return what was typed. The guard has taken out line ends and what nobody sees."""
    return ActForm(
        reason=form.get("reason", ""), ticket=form.get("ticket", ""), anywhere=form.get("places") == "anywhere"
    )


def problems_of(typed: ActForm) -> list[Problem]:
    """Return what the form lacks, a field each."""
    found = []
    for name, text, most in (
        ("reason", typed.reason, REASON_CHARACTERS_MAX),
        ("ticket", typed.ticket, TICKET_CHARACTERS_MAX),
    ):
        if not text:
            found.append(Problem(name, f"console.error.{name}"))
        elif len(text) > most:
            found.append(Problem(name, f"console.error.{name}_long"))
    return found


def shown_of(draft: ActDraft, found: RequestState | None) -> Shown:
    """Return what the page of an act shows. `right`: the code was accepted, and the act is not carried out yet."""
    if draft.outcome is not None or found is None:
        return _settled(draft.outcome)
    return progress_of(found, draft.now - draft.begun_at)


def _settled(outcome: str | None) -> Shown:
    match outcome:
        case "done" | "carried_out":
            return "done"
        case "recorded":
            return "recorded"
        case _:
            return "refused"


def number_state(member: Member) -> NumberState:
    """Return what an account manager sees of a member's number: whether there is one."""
    if member.number is not None:
        return "confirmed"
    if member.given_number is not None:
        return "given"
    return "reset" if member.reset is not None else "none"


def locked_of(members: Sequence[Member], refused_at: Mapping[UUID, datetime]) -> set[UUID]:
    """Return the members whose last request was refused because of wrong codes, and who were not unlocked since."""
    return {
        member.user_id
        for member in members
        if member.user_id in refused_at
        and (member.unlocked_at is None or member.unlocked_at < refused_at[member.user_id])
    }


def held_until(account: Account, now: datetime) -> datetime | None:
    """Return until when any export of the account is held; None: none is."""
    times = [account.exports_held_until, *(member.exports_held_until for member in account.members)]
    return max((time for time in times if time is not None and time > now), default=None)


def member_of(account: Account, user_id: UUID) -> Member | None:
    """Return a member of the account."""
    return next((member for member in account.members if member.user_id == user_id), None)
