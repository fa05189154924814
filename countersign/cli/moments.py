"""Times as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from countersign.cli.surroundings import CommandFailedError
from countersign.clock import system_clock
from countersign.operations.durations import parse_duration

_AGO = re.compile(r"[0-9]+[smhd]")


def moment_of(text: str | None, option: str) -> datetime | None:
    """Return the time of `2026-07-01T10:00:00Z`, or of `2h`: two hours ago. Raises CommandFailedError."""
    if text is None:
        return None
    if _AGO.fullmatch(text):
        try:
            return system_clock() - parse_duration(text)
        except ValueError as error:
            raise CommandFailedError(f"{option} {error}") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailedError(
            f"{option} {text}: expected a time such as 2026-07-01T10:00:00Z, or 2h for two hours ago"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
