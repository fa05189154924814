"""What the gateway knows, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from uuid import UUID


class Site(StrEnum):
    """The two sites have sessions of their own: a session of one is nothing to the other."""

    PAGES = "pages"
    CONSOLE = "console"


class Stage(StrEnum):
    """PENDING: the password was right and the login request is on its way. SIGNED_IN: its grant was spent.

    SETUP: the password was right, and an account manager has reset the number: another one is entered, and no more.
    """

    PENDING = "pending"
    SIGNED_IN = "signed_in"
    SETUP = "setup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can sign in. Staff are the account managers."""

    user_id: UUID
    account_id: UUID
    email: str
    name: str
    staff: bool
    password: str = field(repr=False)
    password_nfkc: bool = True
    """False: the hash is of the password as it was typed, from before passwords were brought to NFKC."""


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """What the tables say of somebody who gives an e-mail address: the person, the place, and the time."""

    person: Person | None
    place_known: bool
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as of `now`, the database's time when it was loaded. `req` is the hash of its login request."""

    site: Site
    stage: Stage
    user_id: UUID
    account_id: UUID
    name: str
    email: str
    staff: bool
    request_id: UUID
    req: str | None
    method: str | None
    begun_at: datetime
    used_at: datetime
    now: datetime
    form: bytes | None = None
    held: bool = True
    password_at: datetime | None = None

    @property
    def age(self) -> timedelta:
        """How long ago it began."""
        return self.now - self.begun_at


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` tries at once, then one every `every`. `source` says who chose that."""

    burst: int
    every: timedelta
    source: str


@dataclass(frozen=True, slots=True)
class Try:
    """One key that a try of a password counts against."""

    key: bytes
    rate: Rate


@dataclass(frozen=True, slots=True)
class Ending:
    """Whose sessions an event ends: of `user_id` or else of the whole account; begun at `place` or else anywhere.

    `logins_until`: sessions whose log-in began later stay. `but_of_number`: the session in which this number was
    entered and confirmed stays.
    """

    event_key: str
    account_id: UUID
    user_id: UUID | None
    place: str | None
    logins_until: datetime
    but_of_number: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedExport:
    """An export that was asked for on these pages, so that a closed page is found again."""

    export_id: UUID
    list_name: str
    format: str
    asked_at: datetime
