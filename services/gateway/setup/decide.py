"""Where a right password leads while a reset of the number is open, pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Way = Literal["log_in", "set_up", "refuse"]


@dataclass(frozen=True, slots=True)
class OpenReset:
    """A reset that waits for a number. `place_used`: the user themselves has logged in from here before."""

    two_factor: bool
    anywhere: bool
    place_used: bool


def way_after_password(reset: OpenReset | None) -> Way:
    """Return where a right password leads.

    Without two-factor authentication a password opens the account anyway, and the number is entered in the settings.
    """
    if reset is None or not reset.two_factor:
        return "log_in"
    return "set_up" if reset.place_used or reset.anywhere else "refuse"
