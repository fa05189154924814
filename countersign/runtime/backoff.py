"""Growing, jittered pauses between tries."""

from __future__ import annotations

import secrets

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0  # a server that is back is used again within 10 s


class Backoff:
    """0.1 s doubling to 5 s, each between half and whole, so that many who wait do not come back together."""

    def __init__(self) -> None:
        self._tries = 0

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        whole = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**self._tries)
        self._tries = min(self._tries + 1, 10)
        return whole * (0.5 + secrets.randbelow(501) / 1000)

    def reset(self) -> None:
        """Start again from the shortest: it went well."""
        self._tries = 0
