"""Time and ids of a program that has no database to ask. Countersign's own services take both from PostgreSQL."""

from __future__ import annotations

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


def new_id(now: datetime) -> UUID:
    """Return a UUID of version 7 (RFC 9562, section 5.7): milliseconds of `now`, then 74 bits of chance."""
    chance = secrets.randbits(_RANDOM_BITS)
    chance &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=int(now.timestamp() * 1000) << _RANDOM_BITS | chance | _VERSION_7 | _VARIANT)
