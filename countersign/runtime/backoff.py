"""Growing, jittered pauses between tries."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from random import Random  # noqa: TID251 - the type of a generator that is an argument

Chance: TypeAlias = "Random"
FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0  # a server that is back is used again within 10 s


class Backoff:
    """0.1 s doubling to 5 s, each between half and whole, so that many who wait do not come back together.

    `chance` is for a simulator that wants the same pauses each time.
    """

    def __init__(self, chance: Chance | None = None) -> None:
        self._tries = 0
        self._chance = chance or secrets.SystemRandom()

    def next(self) -> float:
        """Return the seconds to wait before the next try."""
        whole = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0**self._tries)
        self._tries = min(self._tries + 1, 10)
        return whole * (0.5 + self._chance.random() / 2)

    def reset(self) -> None:
        """Start again from the shortest: it went well."""
        self._tries = 0
