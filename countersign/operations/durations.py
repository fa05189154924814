"""How long: as people type it."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FORM = re.compile(r"([0-9]{1,9})([smhd])")
_DURATION_MAX = timedelta(days=3650)  # ours: longer than any topic keeps what it holds


def parse_duration(text: str) -> timedelta:
    """Return the time that `90s`, `10m`, `24h` or `7d` means, at most ten years. Raises ValueError, in words."""
    found = _FORM.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text}: expected a number and s, m, h or d, such as 10m or 24h")
    length = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if length > _DURATION_MAX:
        raise ValueError(f"{text}: expected at most {_DURATION_MAX.days}d")
    return length
