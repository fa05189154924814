"""Times as RFC 3339 writes them."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta

# RFC 3339, 5.6. "T" and "Z" may be lower case, a space may stand in place of "T" (both in its notes), a fraction has
# any number of digits, an offset goes to 23:59, and -00:00 is UTC whose local offset is unknown (4.3).
_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_LEAP = "60"


def rfc3339(text: str) -> datetime:
    """Return the time, to the microsecond. Raises ValueError, which quotes nothing, for other ways to write one.

    Years 1970 to 9998: at the calendar's ends a change of offset overflows, here and in PostgreSQL.
    """
    found = _FORM.fullmatch(text)
    if found is not None:
        with contextlib.suppress(ValueError, OverflowError):
            time = _time(*found.groups(default=""))
            if 1970 <= time.year < 9999:  # noqa: PLR2004 - the docstring says why
                return time
    raise ValueError("expected an RFC 3339 time with its offset")


def _time(date: str, minute: str, second: str, fraction: str, offset: str) -> datetime:
    leap = second == _LEAP
    offset = "+00:00" if offset in "Zz" else offset
    time = datetime.fromisoformat(f"{date}T{minute}:{'59' if leap else second}.{fraction[:6]:0<6}{offset}")
    return _after_leap_second(time) if leap else time


def _after_leap_second(time: datetime) -> datetime:
    """Return the time one second after 23:59:59, the last of a month in UTC. Leap seconds are nowhere else (5.7)."""
    later = (time + timedelta(seconds=1)).astimezone(UTC)
    if (later.day, later.hour, later.minute, later.second) != (1, 0, 0, 0):
        raise ValueError("there is no leap second then")
    return time + timedelta(seconds=1)
