"""Time and ids of a program that has no database to ask. Countersign's own services take both from PostgreSQL.

How long something takes in this process is measured by the event loop's clock.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

_RANDOM_BITS = 80
_VERSION_7 = 0x7 << 76
_VARIANT = 0x2 << 62


def system_clock() -> datetime:
    """Return this machine's time: good to 2 minutes, or its requests are denied as `request.stale`."""
    return datetime.fromtimestamp(time.time(), UTC)


def system_nanoseconds() -> int:
    """Return this machine's time in nanoseconds since 1970, for spans."""
    return time.time_ns()


def loop_seconds() -> float:
    """Return the running event loop's time in seconds: it never goes back, and says nothing of the time of day."""
    return asyncio.get_running_loop().time()


def id_of(value: UUID | str, name: str = "id") -> UUID:
    """Return an id that may be given as text. Raises ValueError, which names it and quotes nothing."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(f"{name}: expected a UUID") from None


def new_id(now: datetime | None = None) -> UUID:
    """Return a UUID of version 7 (RFC 9562, section 5.7): milliseconds of `now`, then 74 bits of chance.

    Without `now` it is this machine's time; with a database's, ids sort as its rows do.
    """
    now = now or system_clock()
    chance = secrets.randbits(_RANDOM_BITS)
    chance &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=int(now.timestamp() * 1000) << _RANDOM_BITS | chance | _VERSION_7 | _VARIANT)
