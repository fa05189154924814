"""Clocks that are wrong, for one process: by libfaketime where it is (Debian: `faketime`), else within Python."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIBFAKETIME = "libfaketime"
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")


@dataclass(frozen=True, slots=True)
class Clock:
    """The clock of a process, so many seconds fast (or slow, below zero)."""

    seconds: int

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process is started with, if libfaketime is there."""
        found = _library()
        if found is None:
            return {}
        # The monotonic clock stays right: it belongs to the machine, and nobody sets it.
        return {"LD_PRELOAD": found, "FAKETIME": f"{self.seconds:+d}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    @property
    def arguments(self) -> list[str]:
        """Return what `tests.support.crashing` is told, if it is not."""
        return [] if _library() else [f"--clock={self.seconds}"]


def how() -> str:
    """Say in which way clocks are made wrong here."""
    return LIBFAKETIME if _library() else "time.time() of the process, as no libfaketime is installed"


@cache
def _library() -> str | None:
    return next((str(path) for pattern in _LIBRARIES for path in Path("/").glob(pattern[1:])), None)


def shift(seconds: float) -> None:
    """Let this process's time.time() be wrong from now on; the linter keeps our code from any other clock."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + int(seconds * 1e9)
