"""What a rotation or a revocation has to do, from what the files hold: pure, so that it is shown before it is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from countersign.runtime.keys import WAITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from countersign.operations.keys.rings import Holdings

# A second rotation so soon is rather the first one run again.
RECENT = timedelta(hours=1)
# Readers of the JWKS look again within 10 minutes; the others were asked whether they know the key.
ACTIVE_IN_MIN = {"grants": timedelta(minutes=10)}

State = Literal["half installed", "waiting", "scheduled", "current", "former", "retired"]


class KeyCurrentError(Exception):
    """The key is the one in use; the text says what to do first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What is left to do for a new key.

    `key_id` None: a key has to be drawn. `missing`: services whose file lacks it. `begins` None: no time is set yet.
    `unequal`: services whose file has another time than `begins`, as a run before ended between two files.
    `recent`: the ring was rotated a moment ago, and nothing is to be done.
    """

    key_id: str | None
    missing: tuple[str, ...] = ()
    begins: datetime | None = None
    unequal: tuple[str, ...] = ()
    recent: bool = False


def rotation(holdings: Holdings, now: datetime, *, again: bool = False) -> Rotation:
    """Return what is left to do. A key that an earlier run began to install or to set is gone on with."""
    unfinished = [key_id for key_id in holdings.key_ids() if state_of(holdings, key_id, now) in _UNFINISHED]
    if unfinished:
        return _completed(holdings, unfinished[-1])
    current = holdings.current(now)
    if current is not None and not again and now - holdings.begins(current) < RECENT:
        return Rotation(key_id=current, begins=holdings.begins(current), recent=True)
    return Rotation(key_id=None, missing=holdings.ring.holders)


_UNFINISHED = frozenset({"half installed", "waiting", "scheduled"})


def _completed(holdings: Holdings, key_id: str) -> Rotation:
    entries = holdings.entries(key_id)
    begins = holdings.begins(key_id)
    if begins == WAITS:
        return Rotation(key_id=key_id, missing=holdings.missing(key_id))
    unequal = tuple(service for service, entry in entries.items() if entry.active_from != begins)
    return Rotation(key_id=key_id, missing=holdings.missing(key_id), begins=begins, unequal=unequal)


def state_of(holdings: Holdings, key_id: str, now: datetime) -> State:
    """Return how far a key is. An old one that lacks in a file is former: its removal was begun."""
    retired_at, current = holdings.retired_at(key_id), holdings.current(now)
    if retired_at is not None and retired_at <= now:
        return "retired"
    begins = holdings.begins(key_id)
    is_old = current is not None and key_id != current and begins <= now
    if is_old:
        return "former"
    entries = holdings.entries(key_id).values()
    if holdings.missing(key_id) or len({entry.active_from for entry in entries}) > 1:
        return "half installed"
    if begins > now:
        return "waiting" if begins == WAITS else "scheduled"
    return "current"


def begin_at(now: datetime, active_in: timedelta) -> datetime:
    """Return when a key becomes active that was found known everywhere, in whole seconds."""
    return (now + active_in).astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Something that still needs a key. `until`: from then on it does not, if that is known."""

    what: str
    count: int | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        """Return it in words."""
        counted = "" if self.count is None else f"{self.count:,} "
        ends = "" if self.until is None else f", until {self.until:%Y-%m-%d %H:%M:%S} UTC"
        return f"{counted}{self.what}{ends}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What becomes of a key: `retire` keeps it published for what it signed, `remove` takes it out of the files.

    `allowed` False: something still needs it, and nobody confirmed that it may fail.
    """

    key_id: str
    action: Literal["retire", "remove"]
    services: tuple[str, ...]
    uses: tuple[Use, ...]
    allowed: bool


def revocation(
    holdings: Holdings, key_id: str, uses: Sequence[Use], now: datetime, *, forced: bool = False
) -> Revocation | None:
    """Return what becomes of a key; None if no file has it. Raises KeyCurrentError.

    A key of grants is retired first, which is always safe once another one signs, and removed 40 days later; forced it
    is removed at once.
    """
    services = tuple(holdings.entries(key_id))
    if not services:
        return None
    if key_id == holdings.current(now):
        raise KeyCurrentError(
            f"{key_id} is the key that {holdings.ring.name} are made with now: run `countersign keys rotate "
            f"{holdings.ring.name}` first, and wait until the new one is active"
        )
    if holdings.ring.name == "grants" and state_of(holdings, key_id, now) == "former" and not forced:
        return Revocation(key_id=key_id, action="retire", services=services, uses=tuple(uses), allowed=True)
    return Revocation(key_id=key_id, action="remove", services=services, uses=tuple(uses), allowed=forced or not uses)
