"""The settings pages' rules, pure: what a page shows, and where it leads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from services.gateway.model import Session
    from services.gateway.settings_pages.model import Account, Block, Draft, KnownPlace, Member

PASSWORD_AGAIN_AFTER = timedelta(minutes=5)  # OWASP ASVS 5.0, 7.5.1: again before sensitive changes; 5 minutes: chosen
DRAFT_LIFE = timedelta(minutes=15)  # chosen: a code lives 5 minutes, a change takes two, and somebody reads the page
PLACES_MAX = 30  # chosen: as many as a form of 16 KiB carries twice
PEOPLE_A_PAGE = 50  # chosen: a list that is looked through without getting lost
ACTIVITY_ROWS_MAX = 20  # chosen: a few weeks of somebody who logs in most days

_KEEP, _SEEN = "keep ", "seen "
# The pages that ask for the password lead back to one of these and nowhere else.
_BACK = re.compile(r"/account(/number|/users/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/number)?", re.ASCII)

Security = Literal["on", "not_owner", "form"]


def password_is_fresh(session: Session) -> bool:
    """Tell whether the password was given a moment ago, so that it need not be asked for again."""
    return session.password_at is not None and session.now - session.password_at < PASSWORD_AGAIN_AFTER


def back_to(text: str) -> str:
    """Return one of our own paths to go back to; the Overview for anything else."""
    return text if _BACK.fullmatch(text) else "/account"


def is_current(draft: Draft | None) -> bool:
    """Tell whether a draft is still worth showing: not one that somebody left long ago."""
    return draft is not None and draft.now - draft.begun_at < DRAFT_LIFE


def step_of(draft: Draft) -> int:
    """Return which code of the change this is, from 1."""
    return draft.steps if draft.needs == "confirm_number" else 1


def member_of(account: Account | None, user_id: UUID) -> Member | None:
    """Return a member of the account."""
    members = [] if account is None else account.members
    return next((member for member in members if member.user_id == user_id), None)


def security_of(account: Account, me: Member) -> Security:
    """Return what the Security section is about for this member."""
    if account.two_factor:
        return "on"
    return "form" if me.role == "owner" else "not_owner"


def held_until(account: Account, me: Member, now: datetime) -> datetime | None:
    """Return until when this member's exports are held, by a change of their own number or of the account."""
    return max((at for at in (account.exports_held_until, me.exports_held_until) if at and at > now), default=None)


def others_blocking(blocked_by: Sequence[Block], me: UUID) -> list[Block]:
    """Return what stands in the way of turning on, beside the own number, which the same form takes."""
    return [block for block in blocked_by if block.user_id != me]


def warned_of(account: Account, me: UUID) -> list[Member]:
    """Return the members with a number that no code has confirmed yet, where that does not block."""
    blocking = {block.user_id for block in account.blocked_by}
    unconfirmed = [member for member in account.members if member.number is None and member.given_number is not None]
    return [member for member in unconfirmed if member.user_id != me and member.user_id not in blocking]


class Listed(Protocol):
    """Somebody in a list of members."""

    @property
    def user_id(self) -> UUID:
        """The user."""
        ...

    @property
    def number(self) -> object | None:
        """The number in force."""
        ...

    @property
    def given_number(self) -> object | None:
        """The number that waits for its first code."""
        ...


L = TypeVar("L", bound=Listed)


@dataclass(frozen=True, slots=True)
class PeoplePage(Generic[L]):
    """One page of the members, those first whose number is missing or not confirmed."""

    people: list[L]
    number: int
    last: int


def people_page(members: Sequence[L], me: UUID, asked: str) -> PeoplePage[L]:
    """Return the page asked for, or the nearest that there is. The one who looks comes first."""
    ordered = sorted(members, key=lambda member: (member.user_id != me, _settled(member)))
    last = max(1, -(-len(ordered) // PEOPLE_A_PAGE))
    wanted = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < len(str(10**6)) else 1
    number = min(max(wanted, 1), last)
    return PeoplePage(ordered[(number - 1) * PEOPLE_A_PAGE : number * PEOPLE_A_PAGE], number, last)


def _settled(member: Listed) -> int:
    if member.number is not None:
        return 2
    return 0 if member.given_number is None else 1


def ticked_off(form: Mapping[str, str]) -> tuple[str, ...]:
    """Return the places that the form showed and that were not ticked."""
    seen = [name.removeprefix(_SEEN) for name in form if name.startswith(_SEEN)]
    return tuple(place for place in seen if f"{_KEEP}{place}" not in form)


def places_kept(places: Sequence[KnownPlace], forget: Sequence[str]) -> list[str] | None:
    """Return the places that stay when the setting is turned on; None if all of them do.

    A place that the form did not show was not decided about, so it stays.
    """
    known = {place.place for place in places}
    gone = known & set(forget)
    return sorted(known - gone) if gone else None
