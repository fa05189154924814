"""Starts the simulator in a process of its own, as a test does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def simulated(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m tests.sim` with these arguments to its end."""
    command = [sys.executable, "-m", "tests.sim", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


def findings(ran: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what did not hold."""
    mark = "DOES NOT HOLD  "
    return [line.removeprefix(mark) for line in ran.stdout.splitlines() if line.startswith(mark)]
