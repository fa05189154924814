"""The gateway's rules, pure: sessions, tries of passwords, and which events end whose sessions."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from countersign.contract import MemberRemoved, NumberReplaced, NumberReset, PlacesForgotten, TwoFactorDisabled
from countersign.typed import email_of
from services.gateway.model import Ending, Rate, Session, Site, Stage, Try

if TYPE_CHECKING:
    from datetime import datetime

    from countersign.client import RequestState
    from countersign.runtime.messages.cloudevents import Event

IDLE_MAX = timedelta(minutes=30)  # NIST SP 800-63B-3, 4.2.3: again after 30 minutes without activity,
LIFE_MAX = timedelta(hours=12)  # and after 12 hours in all
ENDS_WITHIN = LIFE_MAX + timedelta(hours=1)  # an older event is older than any session
# chosen: longer than the commit of an event takes, whose time is from before it; a log-in meanwhile may be judged by
# the old settings, so it ends, too.
COMMITTED_WITHIN = timedelta(seconds=2)
TOUCH_EVERY = timedelta(minutes=1)  # chosen: a row is written at most once a minute for being looked at
DECIDED_WITHIN = timedelta(seconds=150)  # chosen: a request older than 2 minutes is denied anyway
Progress = Literal["moment", "code", "right", "denied", "given_up"]
EMAIL_CHARACTERS_MAX = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
PASSWORD_CHARACTERS_MAX = 1_024  # chosen: NIST SP 800-63B-4, 3.1.1.2 wants at least 64 taken

PLACE_RATE = Rate(
    30,
    timedelta(seconds=20),
    "OWASP ASVS 5.0, 6.3.1: limits on tries of passwords; an office behind one address has 30 at once",
)
EMAIL_RATE = Rate(
    10,
    timedelta(minutes=20),
    "NIST SP 800-63B-4, 3.2.2: at most 100 failures in a row; a day of tries from strange places is 82",
)
DEVICE_RATE = Rate(
    EMAIL_RATE.burst,
    EMAIL_RATE.every,
    "OWASP, Slow Down Online Guessing Attacks with Device Cookies: a copied cookie opens one bucket of the usual size",
)
# How long a pending secret fetches the signed-in session that it became, if no browser has shown that one yet.
HANDED_OVER_WITHIN = timedelta(minutes=2)  # chosen: somebody who loads the page again after a broken connection


def alive(session: Session) -> bool:
    """Tell whether a session still counts."""
    return session.now - session.used_at < IDLE_MAX and session.age < LIFE_MAX


def needs_touch(session: Session) -> bool:
    """Tell whether the session's last use is old enough to be worth a write."""
    return session.now - session.used_at >= TOUCH_EVERY


def may_use(*, staff: bool, site: Site) -> bool:
    """Account managers sign in at the console and nowhere else; everybody else never there."""
    return staff == (site is Site.CONSOLE)


def given_up(session: Session) -> bool:
    """Tell whether a login has waited for its decision as long as anybody should."""
    return session.stage is Stage.PENDING and session.age >= DECIDED_WITHIN


def progress_of(found: RequestState, waited: timedelta) -> Progress:
    """Return how far a request has come that was made `waited` ago. `right`: its code was accepted."""
    match found.state:
        case "challenged" if found.challenge is not None:
            return "code"
        case "granted":
            return "right"
        case "denied":
            return "denied"
        case _:
            return "given_up" if waited >= DECIDED_WITHIN else "moment"


def folded(email: str) -> str:
    """Return an e-mail address as it is kept: two spellings of one address are one person."""
    return email_of(email)


def tries_of(email: str, place: str | None, *, place_known: bool, device: bytes | None = None) -> tuple[Try, ...]:
    """Return what a try counts against.

    For a browser that has logged in with this e-mail before (`device` is its nonce): that browser alone. Otherwise the
    place; and the e-mail, apart for a place that its account knows. So tries from strange places never close the door
    to the computer that the owner sits at, nor to the browser that the owner carries along. From any one place the
    number of tries for an address is the same whether somebody has it or not.
    """
    if device is not None:
        return (Try(_key("device", email, device.hex()), DEVICE_RATE),)
    where = place or "nowhere"
    door = where if place_known else "strange"
    return (Try(_key("place", where), PLACE_RATE), Try(_key("email", email, door), EMAIL_RATE))


def _key(*parts: str) -> bytes:
    return hashlib.sha256("\x00".join(parts).encode()).digest()


def ending_of(event: Event, made_at: datetime, now: datetime) -> Ending | None:
    """Return which sessions an event ends.

    A removed member's, all of them. After a reset of the number, that user's: the phone is in doubt, so is who sits
    there. After a number was replaced, the user's but the one in which that was done: whoever sits at another has seen
    no code. After two-factor was turned off, the whole account's: a log-in that was asked for a code ends as well. Of
    forgotten places those that began there. Other changes leave sessions alone: they bind from the next login on. An
    event older than any session can be ends none, and none ends a session whose login began after it.
    """
    if now - made_at >= ENDS_WITHIN:
        return None
    key, until = f"{event.ce_type}:{event.natural_key()}", made_at + COMMITTED_WITHIN
    match event:
        case MemberRemoved() | NumberReset() if event.user_id is not None:
            return Ending(key, event.account_id, event.user_id, None, until)
        case NumberReplaced() if event.user_id is not None:
            return Ending(key, event.account_id, event.user_id, None, until, but_of_number=event.number_id)
        case TwoFactorDisabled():
            return Ending(key, event.account_id, None, None, until)
        case PlacesForgotten():
            return Ending(key, event.account_id, event.user_id, event.place, until)
        case _:
            return None
